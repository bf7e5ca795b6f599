package kinesis

// Compatible: every parameter and error; 1024 to 10240 KiB.
// Differs: nothing known.
// Test: internal/api/kinesis/testdata/update_max_record_size.txt

import (
	"context"

	"github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/wire/shape"
)

func (s *Service) updateMaxRecordSize(ctx context.Context, call *shape.Call, in *kinesis.UpdateMaxRecordSizeInput) error {
	return answer(s.streams.UpdateMaxRecordSize(ctx, scope(call), ref(shape.Opt[string]{}, in.StreamARN), int(in.MaxRecordSizeInKiB)))
}
