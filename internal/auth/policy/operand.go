package policy

import (
	"cmp"
	"strings"
	"time"
)

// decimal is a number of any length, without the zeros that say nothing. Keys and policies hold
// integers and decimal fractions; floating point would take neighbours for the same.
type decimal struct {
	negative bool
	whole    string // digits, no leading zeros
	fraction string // digits, no trailing zeros
}

// parseDecimal reads [+-]digits[.digits].
func parseDecimal(s string) (decimal, bool) {
	var d decimal
	if s != "" && (s[0] == '-' || s[0] == '+') {
		d.negative = s[0] == '-'
		s = s[1:]
	}
	whole, fraction, dot := strings.Cut(s, ".")
	if !isDigits(whole) || dot && !isDigits(fraction) {
		return decimal{}, false
	}
	d.whole, d.fraction = strings.TrimLeft(whole, "0"), strings.TrimRight(fraction, "0")
	if d.whole == "" && d.fraction == "" {
		d.negative = false
	}
	return d, true
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// compare returns -1, 0 or +1 as d is less than, equal to or greater than o.
func (d decimal) compare(o decimal) int {
	if d.negative != o.negative {
		if d.negative {
			return -1
		}
		return 1
	}
	c := cmp.Compare(len(d.whole), len(o.whole))
	if c == 0 {
		c = strings.Compare(d.whole, o.whole)
	}
	if c == 0 {
		c = strings.Compare(d.fraction, o.fraction)
	}
	if d.negative {
		c = -c
	}
	return c
}

// parseDate reads a date as policies write it: a form of the W3C's profile of ISO 8601, of which AWS
// also takes a time without a zone, as UTC; or the seconds since 1970. Nothing is allocated.
//
//	2026-01   2026-01-31   2026-01-31T12:30Z   2026-01-31T12:30:45.5+01:00   1769862645
//
// The profile's form of a year alone is not one: digits are seconds.
func parseDate(s string) (time.Time, bool) {
	if isDigits(s) {
		if len(s) > 18 {
			return time.Time{}, false
		}
		var seconds int64
		for i := range len(s) {
			seconds = seconds*10 + int64(s[i]-'0')
		}
		return time.Unix(seconds, 0), true
	}
	d := dateReader{rest: s, ok: true}
	year := d.digits(4)
	d.need("-")
	month, day := d.digits(2), 1
	var hour, minute, second, nanosecond, offset int
	if d.skip("-") {
		day = d.digits(2)
		if d.skip("T") || d.skip("t") {
			hour = d.digits(2)
			d.need(":")
			minute = d.digits(2)
			if d.skip(":") {
				second = d.digits(2)
				if d.skip(".") {
					nanosecond = d.fraction()
				}
			}
			offset = d.zone()
		}
	}
	if !d.ok || d.rest != "" || month < 1 || month > 12 || hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, false
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, nanosecond, time.UTC)
	if t.Day() != day { // such as the 31st of April
		return time.Time{}, false
	}
	return t.Add(-time.Duration(offset) * time.Minute), true
}

// dateReader reads a date from left to right.
type dateReader struct {
	rest string
	ok   bool
}

func (d *dateReader) skip(s string) bool {
	rest, ok := strings.CutPrefix(d.rest, s)
	d.rest = rest
	return ok
}

// need reads what must be there.
func (d *dateReader) need(s string) { d.ok = d.skip(s) && d.ok }

// digits reads a number of n digits.
func (d *dateReader) digits(n int) int {
	if len(d.rest) < n || !isDigits(d.rest[:n]) {
		d.ok = false
		return 0
	}
	v := 0
	for i := range n {
		v = v*10 + int(d.rest[i]-'0')
	}
	d.rest = d.rest[n:]
	return v
}

// fraction reads the digits behind the point of a second, as nanoseconds.
func (d *dateReader) fraction() int {
	n := 0
	for n < len(d.rest) && '0' <= d.rest[n] && d.rest[n] <= '9' {
		n++
	}
	if n == 0 || n > 9 {
		d.ok = false
		return 0
	}
	v := d.digits(n)
	for range 9 - n {
		v *= 10
	}
	return v
}

// zone reads Z, +hh:mm, -hh:mm or nothing, as minutes east of UTC.
func (d *dateReader) zone() int {
	sign := 1
	switch {
	case d.rest == "", d.skip("Z"), d.skip("z"):
		return 0
	case d.skip("-"):
		sign = -1
	case !d.skip("+"):
		d.ok = false
		return 0
	}
	hours := d.digits(2)
	d.need(":")
	minutes := d.digits(2)
	d.ok = d.ok && hours < 24 && minutes < 60
	return sign * (hours*60 + minutes)
}
