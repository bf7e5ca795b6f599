package aggregation_test

import (
	"fmt"

	"github.com/headrace/headrace/aggregation"
)

// A producer fills an aggregate until there is no room and puts what it has.
func ExampleBuilder() {
	builder := aggregation.Builder{MaxBytes: 60}
	put := func(r aggregation.Record) { fmt.Println(r.PartitionKey, r.ExplicitHashKey != "", len(r.Data)) }
	for _, line := range []string{"first", "second", "third"} {
		r := aggregation.Record{PartitionKey: "web-1", Data: []byte(line)}
		if !builder.Add(r) {
			put(builder.Build())
			builder.Add(r)
		}
	}
	if builder.Len() > 0 {
		put(builder.Build())
	}
	// Output:
	// a true 50
	// web-1 false 5
}

// A consumer treats all records alike: those that are no aggregates come through unchanged.
func ExampleReader_Split() {
	var builder aggregation.Builder
	builder.Add(aggregation.Record{PartitionKey: "web-1", Data: []byte("GET /")})
	builder.Add(aggregation.Record{PartitionKey: "web-2", Data: []byte("GET /about")})

	var reader aggregation.Reader
	for _, record := range []aggregation.Record{builder.Build(), {PartitionKey: "web-3", Data: []byte("GET /raw")}} {
		for user := range reader.Split(record) {
			fmt.Printf("%s %s\n", user.PartitionKey, user.Data)
		}
	}
	// Output:
	// web-1 GET /
	// web-2 GET /about
	// web-3 GET /raw
}
