//go:build !race

package kinesis_test

const raced = false
