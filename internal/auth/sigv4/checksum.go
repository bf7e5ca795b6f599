package sigv4

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"strings"
)

const (
	checksumPrefix = "x-amz-checksum-"
	// crc64NVME is the polynomial of CRC-64/NVME, with its bits reversed.
	crc64NVME = 0x9a6c9329ac4bc9b5
)

// newChecksum returns the algorithm of a trailing header such as x-amz-checksum-crc32c, nil when AWS
// has none of that name.
func newChecksum(header string) hash.Hash {
	name, ok := strings.CutPrefix(header, checksumPrefix)
	if !ok {
		return nil
	}
	switch name {
	case "crc32":
		return crc32.NewIEEE()
	case "crc32c":
		return crc32.New(crc32.MakeTable(crc32.Castagnoli))
	case "crc64nvme":
		return nvme{crc64.New(crc64.MakeTable(crc64NVME))}
	case "sha1":
		return sha1.New()
	case "sha256":
		return sha256.New()
	}
	return nil
}

// nvme is CRC-64/NVME, whose checksum has its bytes in the usual order.
type nvme struct{ hash.Hash64 }

// Sum implements hash.Hash.
func (n nvme) Sum(b []byte) []byte { return binary.BigEndian.AppendUint64(b, n.Sum64()) }

// isChecksum reports whether text is a sum in AWS's encoding.
func isChecksum(sum hash.Hash, text string) bool {
	return base64.StdEncoding.EncodeToString(sum.Sum(nil)) == text
}
