package capacity

import (
	"encoding/json"
	"fmt"

	"github.com/headrace/headrace/internal/record"
)

// Reading is what a shard has taken by a moment, counted from some earlier one.
type Reading struct {
	Number int32
	Open   bool
	// Bytes and Records never become less.
	Bytes, Records uint64
	// Width and TopKey are as in Shard.
	Width, TopKey float64
}

// Meter makes rates of readings. The zero value has had none.
type Meter struct {
	at   record.Millis
	last map[int32]Reading
}

// At returns when the last reading was taken.
func (m *Meter) At() record.Millis { return m.at }

// Take takes readings of a stream's shards, the open ones in the order of their hash keys, and returns what
// each of those got since the last ones, and the load of all together. There is nothing to return at first, nor
// when the clock went back. A shard that was not read before has taken all it has since.
func (m *Meter) Take(now record.Millis, readings []Reading) (open []Shard, load float64) {
	seconds := float64(now-m.at) / 1000
	first := m.last == nil || seconds <= 0
	next := make(map[int32]Reading, len(readings))
	var bytes, records float64
	for _, r := range readings {
		next[r.Number] = r
		last := m.last[r.Number]
		s := Shard{
			Bytes: float64(r.Bytes-last.Bytes) / seconds, Records: float64(r.Records-last.Records) / seconds,
			Width: r.Width, TopKey: r.TopKey,
		}
		bytes, records = bytes+s.Bytes, records+s.Records
		if r.Open {
			open = append(open, s)
		}
	}
	m.at, m.last = now, next
	if first {
		return nil, 0
	}
	return open, Load(bytes, records)
}

// layout is that of a stored history.
const layout = 1

// stored is a history as it is stored.
type stored struct {
	Layout int `json:"v"`
	History
}

// Encode returns a history as it is stored.
func (h History) Encode() []byte {
	value, err := json.Marshal(stored{layout, h})
	if err != nil {
		panic(err) // it holds nothing that JSON lacks: loads are finite
	}
	return value
}

// Decode reads what Encode returned.
func Decode(value []byte) (History, error) {
	var s stored
	if err := json.Unmarshal(value, &s); err != nil {
		return History{}, err
	}
	if s.Layout != layout {
		return History{}, fmt.Errorf("layout %d is not known here", s.Layout)
	}
	return s.History, nil
}
