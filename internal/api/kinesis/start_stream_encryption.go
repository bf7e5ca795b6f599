package kinesis

// Compatible: every parameter and error; KeyId as id, ARN, alias or alias/aws/kinesis, echoed as given;
// another key rotates the data key; records that are there stay as they are, and readable.
// Differs: data keys are drawn here and sealed with the node's key: no Key Management Service is asked, and
// every key that can be named exists; 25 calls in 24 hours hold with limits.mode aws alone, and 500 data keys a
// stream always; the key that a stream has is no change; with the default transition delay of 0 the stream is ACTIVE
// when the call returns.
// Test: internal/api/kinesis/testdata/stream_encryption.txt, TestEncryptedStream, TestCutAnywhere,
// TestEncryptedFanOut, TestEncryptedAllocations, TestDailyLimits

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) startStreamEncryption(ctx context.Context, call *shape.Call, in *kinesis.StartStreamEncryptionInput) error {
	if err := onlyKMS(in.EncryptionType); err != nil {
		return err
	}
	return answer(s.streams.StartEncryption(ctx, scope(call), ref(in.StreamName, in.StreamARN), in.KeyId))
}

// onlyKMS refuses the encryption type that is none.
func onlyKMS(t kinesis.EncryptionType) error {
	if t != kinesis.EncryptionTypeKMS {
		return kinesis.InvalidArgumentException("Encryption type %s is not valid for this operation. The only valid value is KMS.", t)
	}
	return nil
}

// encrypted is the encryption type of what is encrypted, and absent for what is not.
func encrypted(is bool) shape.Opt[kinesis.EncryptionType] {
	return shape.Opt[kinesis.EncryptionType]{Value: kinesis.EncryptionTypeKMS, Set: is}
}

// encryptionOf is the encryption type of a stream with a KeyId.
func encryptionOf(keyID string) shape.Opt[kinesis.EncryptionType] {
	if keyID == "" {
		return shape.Some(kinesis.EncryptionTypeNone)
	}
	return encrypted(true)
}
