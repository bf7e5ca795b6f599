package kinesis

// Compatible: every parameter and error; the KeyId must name the stream's key, in whatever form; records
// that are there stay encrypted, and readable.
// Differs: stopping what is not encrypted is no change; with the default transition delay of 0 the stream
// is ACTIVE when the call returns.
// Test: internal/api/kinesis/testdata/stream_encryption.txt, TestEncryptedStream, TestCutAnywhere

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) stopStreamEncryption(ctx context.Context, call *shape.Call, in *kinesis.StopStreamEncryptionInput) error {
	if err := onlyKMS(in.EncryptionType); err != nil {
		return err
	}
	return answer(s.streams.StopEncryption(ctx, scope(call), ref(in.StreamName, in.StreamARN), in.KeyId))
}
