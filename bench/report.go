package main

import (
	"fmt"
	"io"
)

// report is the table of everything that was measured, with what was wanted of it.
type report struct {
	lines []line
}

type line struct {
	what, wanted, measured, verdict string
}

// ratio adds a line about a number that should be at least as wanted.
func (r *report) ratio(what string, got, wanted float64, format string) {
	verdict := "reached"
	if got < wanted {
		verdict = "MISSED"
	}
	r.lines = append(r.lines, line{what, "at least " + fmt.Sprintf(format, wanted), fmt.Sprintf(format, got), verdict})
}

// limit adds a line about a number that should be at most as wanted.
func (r *report) limit(what string, got, wanted float64, format string) {
	verdict := "reached"
	if got > wanted {
		verdict = "MISSED"
	}
	r.lines = append(r.lines, line{what, "at most " + fmt.Sprintf(format, wanted), fmt.Sprintf(format, got), verdict})
}

// fact adds a line about a number of which nothing is wanted, such as a floor of others.
func (r *report) fact(what string, got float64, format string) {
	r.lines = append(r.lines, line{what, "", fmt.Sprintf(format, got), ""})
}

// skip adds a line about something that could not be measured.
func (r *report) skip(what, why string) {
	r.lines = append(r.lines, line{what, "", "skipped: " + why, ""})
}

func (r *report) print(w io.Writer) {
	if len(r.lines) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%-72s %-18s %-12s\n", "All of it", "wanted", "measured")
	for _, l := range r.lines {
		fmt.Fprintf(w, "%-72s %-18s %-12s %s\n", l.what, l.wanted, l.measured, l.verdict)
	}
}
