package shape

import (
	"math"
	"strconv"
)

// number is a parsed number: f when real, else i. An integer beyond int64 is real too; fraction
// tells it from a number that was written with a fraction or an exponent, or as a CBOR float.
type number struct {
	real     bool
	fraction bool
	i        int64
	f        float64
}

// realNumber returns a number that was not written as an integer.
func realNumber(f float64) number { return number{real: true, fraction: true, f: f} }

// floor returns the largest integer that is not greater, clamped to int64; NaN becomes 0.
func (n number) floor() int64 {
	if !n.real {
		return n.i
	}
	return clampFloat(math.Floor(n.f))
}

// float returns the nearest float64.
func (n number) float() float64 {
	if n.real {
		return n.f
	}
	return float64(n.i)
}

// seconds returns the number of seconds as a Timestamp, rounded to the millisecond: a float64 holds
// today's time to far less than one, so what a client computed in floating point comes out right.
func (n number) seconds() Timestamp {
	if n.real {
		return Timestamp(clampFloat(math.Round(n.f * 1000)))
	}
	if n.i > math.MaxInt64/1000 {
		return math.MaxInt64
	}
	if n.i < math.MinInt64/1000 {
		return math.MinInt64
	}
	return Timestamp(n.i * 1000)
}

func clampFloat(f float64) int64 {
	switch {
	case f != f:
		return 0
	case f >= math.MaxInt64: // 2^63 as a float64
		return math.MaxInt64
	case f <= math.MinInt64:
		return math.MinInt64
	}
	return int64(f)
}

// parseInteger reads digits with an optional minus sign; ok is false when they do not fit.
func parseInteger(b []byte) (v int64, ok bool) {
	neg := b[0] == '-'
	if neg {
		b = b[1:]
	}
	if len(b) > 18 {
		return 0, false
	}
	for _, c := range b {
		v = v*10 + int64(c-'0')
	}
	if neg {
		v = -v
	}
	return v, true
}

// parseNumber turns a JSON number of correct syntax into a value.
func parseNumber(b []byte, fraction bool) number {
	if !fraction {
		if v, ok := parseInteger(b); ok {
			return number{i: v}
		}
		if v, err := strconv.ParseInt(text(b), 10, 64); err == nil {
			return number{i: v}
		}
		// A double may still want the magnitude.
	}
	f, _ := strconv.ParseFloat(text(b), 64)
	return number{real: true, fraction: fraction, f: max(-math.MaxFloat64, min(math.MaxFloat64, f))}
}
