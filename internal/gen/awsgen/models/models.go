// Package models holds the service models of botocore, stripped of documentation and compressed,
// as the generator's only input (SOURCE.md says where they come from). It hands out their text; it
// does not parse them.
package models

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"io"
)

//go:embed *.json.gz
var files embed.FS

// Services are the names of the stored models, in the order they are refreshed.
func Services() []string {
	return []string{
		"kinesis", "firehose", "kinesisanalytics", "kinesisanalyticsv2", "kinesisvideo",
		"kinesis-video-media", "kinesis-video-archived-media", "kinesis-video-signaling",
		"kinesis-video-webrtc-storage", "sqs", "dynamodb", "cloudwatch", "sts",
	}
}

// Text returns the JSON of one stored model.
func Text(service string) ([]byte, error) {
	packed, err := files.ReadFile(service + ".json.gz")
	if err != nil {
		return nil, fmt.Errorf("read model %s: %w", service, err)
	}
	text, err := unpack(packed)
	if err != nil {
		return nil, fmt.Errorf("unpack model %s: %w", service, err)
	}
	return text, nil
}

// Pack compresses a model so that the same text gives the same bytes: no name, no time.
func Pack(text []byte) ([]byte, error) {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(text); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func unpack(packed []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}
