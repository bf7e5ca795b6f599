package cli

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

const (
	// maxBatch is the most records one PutRecords call may carry.
	maxBatch = 500
	// maxBatchBytes is half of what AWS takes in one call today and all that older services take.
	maxBatchBytes = 5 << 20
	// The pause before failed records are sent again doubles from the first to the last of these.
	retryFirst = 100 * time.Millisecond
	retryLast  = 5 * time.Second
	// maxFruitless is how many calls in a row may store nothing before put gives up.
	maxFruitless = 10
)

// putter sends records in batches, one call at a time.
//
// A batch is sent, and what failed of it is sent again, until all of it is stored; only then the
// next goes out. So records of one partition key keep their order, with the one exception that the
// API leaves no way around: when an entry fails and a later one of the same key in the same call
// does not, the earlier is stored after the later.
type putter struct {
	api      Writer
	stream   string
	progress func(format string, args ...any)
	// stored is told of each record once it is stored, batch by batch in the order sent.
	stored func(entry types.PutRecordsRequestEntry, result types.PutRecordsResultEntry) error

	batch []types.PutRecordsRequestEntry
	bytes int
	// records, data and retried count stored records, their bytes, and entries sent again.
	records, data, retried int
}

// add puts one record into the batch, sending what does not fit beside it first.
func (p *putter) add(ctx context.Context, key string, data []byte) error {
	size := len(key) + len(data)
	if len(p.batch) == maxBatch || len(p.batch) > 0 && p.bytes+size > maxBatchBytes {
		if err := p.flush(ctx); err != nil {
			return err
		}
	}
	if data == nil {
		data = []byte{} // the SDK leaves nil out, but Data is required
	}
	p.batch = append(p.batch, types.PutRecordsRequestEntry{PartitionKey: &key, Data: data})
	p.bytes += size
	return nil
}

// flush stores the batch and reports what was stored of it, which is all unless it fails.
func (p *putter) flush(ctx context.Context) error {
	results := make([]types.PutRecordsResultEntry, len(p.batch))
	err := p.deliver(ctx, results)
	if reportErr := p.report(results); err == nil {
		err = reportErr
	}
	return err
}

// deliver sends the batch until all of it is stored.
func (p *putter) deliver(ctx context.Context, results []types.PutRecordsResultEntry) error {
	pending := make([]int, len(p.batch)) // indexes of entries not stored yet
	for i := range pending {
		pending[i] = i
	}
	fruitless := 0
	for pause := retryFirst; len(pending) > 0; pause = min(2*pause, retryLast) {
		left, err := p.send(ctx, results, pending)
		if err != nil || len(left) == 0 {
			return err
		}
		if fruitless++; len(left) < len(pending) {
			fruitless, pause = 0, retryFirst
		}
		worst := results[left[0]]
		if fruitless == maxFruitless {
			return fmt.Errorf("put records to stream %s: %d records were refused %d times: %s: %s",
				p.stream, len(left), maxFruitless, text(worst.ErrorCode), text(worst.ErrorMessage))
		}
		p.retried += len(left)
		p.progress("sending %d of %d records again: %s", len(left), len(p.batch), text(worst.ErrorCode))
		pending = left
		if err := sleep(ctx, pause/2+rand.N(pause/2)); err != nil {
			return failed("put records to stream "+p.stream, err)
		}
	}
	return nil
}

// send makes one call for the pending entries, notes each result and returns what failed.
func (p *putter) send(ctx context.Context, results []types.PutRecordsResultEntry, pending []int) ([]int, error) {
	in := &kinesis.PutRecordsInput{StreamName: &p.stream}
	for _, i := range pending {
		in.Records = append(in.Records, p.batch[i])
	}
	out, err := p.api.PutRecords(ctx, in)
	if err != nil {
		return nil, failed("put records to stream "+p.stream, err)
	}
	if len(out.Records) != len(pending) {
		return nil, fmt.Errorf("put records to stream %s: %d results for %d records", p.stream, len(out.Records), len(pending))
	}
	var left []int
	for n, r := range out.Records {
		results[pending[n]] = r
		if r.ErrorCode != nil {
			left = append(left, pending[n])
		}
	}
	return left, nil
}

// report counts what was stored of the batch and empties it.
func (p *putter) report(results []types.PutRecordsResultEntry) error {
	batch := p.batch
	p.batch, p.bytes = p.batch[:0], 0
	for i, e := range batch {
		if results[i].SequenceNumber == nil {
			continue
		}
		p.records++
		p.data += len(e.Data)
		if err := p.stored(e, results[i]); err != nil {
			return err
		}
	}
	return nil
}
