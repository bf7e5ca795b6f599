package main

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

const (
	recordBytes = 1 << 10
	benchStream = "bench"
	benchShards = 8

	jsonType = "application/x-amz-json-1.1"
	cborType = "application/x-amz-cbor-1.1"
)

// authorization has the form of a signature. Where signatures are not verified no body is hashed.
const authorization = "AWS4-HMAC-SHA256 Credential=bench/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=host;x-amz-date, Signature=00"

// putRequests makes n different puts of some records each, with random keys and incompressible data.
func putRequests(n, records int) []request {
	rng := rand.New(rand.NewPCG(1, 2))
	requests := make([]request, n)
	data := make([]byte, recordBytes)
	entry := func() string {
		for j := range data {
			data[j] = byte(rng.Uint32())
		}
		return fmt.Sprintf(`"Data":"%s","PartitionKey":"key-%d"`, base64.StdEncoding.EncodeToString(data), rng.Uint32())
	}
	for i := range requests {
		operation, accept := "PutRecord", `SequenceNumber`
		body := fmt.Sprintf(`{%s,"StreamName":%q}`, entry(), benchStream)
		if records > 1 {
			operation, accept = "PutRecords", `"FailedRecordCount":0`
			entries := make([]string, records)
			for r := range entries {
				entries[r] = "{" + entry() + "}"
			}
			body = fmt.Sprintf(`{"Records":[%s],"StreamName":%q}`, strings.Join(entries, ","), benchStream)
		}
		requests[i] = request{bytes: rawCall(operation, jsonType, []byte(body)), payload: records * recordBytes, accept: []byte(accept)}
	}
	return requests
}

// rawCall is one API call as it goes over the wire.
func rawCall(operation, contentType string, body []byte) []byte {
	head := "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: " + contentType + "\r\n" +
		"X-Amz-Target: Kinesis_20131202." + operation + "\r\nX-Amz-Date: 20260101T000000Z\r\n" +
		"Authorization: " + authorization + "\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n"
	return append([]byte(head), body...)
}
