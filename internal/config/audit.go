package config

import (
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Audit says what is written down about calls, and where.
type Audit struct {
	// Mode is AutoSwitch, On or Off. Use Mode.Or to read it.
	Mode Switch
	// Directory is where the files are; "" is the directory audit in the data directory.
	Directory string
	// DataEvents adds the calls that put and get records.
	DataEvents bool
	// FileSize and FileAge are when a file is followed by another.
	FileSize Size
	FileAge  time.Duration
	// TotalSize is how much all files may take: the oldest go.
	TotalSize Size
}

// Switch is on, off, or what the profile says.
type Switch string

// The positions of a Switch.
const (
	AutoSwitch Switch = "auto"
	On         Switch = "on"
	Off        Switch = "off"
)

// Or returns whether s is on, where auto says what it is if the configuration leaves it open.
func (s Switch) Or(auto bool) bool { return s == On || s == AutoSwitch && auto }

// minAuditFile holds a few of the largest entries.
const minAuditFile = 1 << 20

func defaultAudit() Audit {
	return Audit{Mode: AutoSwitch, FileSize: 64 << 20, FileAge: 24 * time.Hour, TotalSize: 1 << 30}
}

// auditSettings are the keys of the section audit.
func auditSettings(a *Audit) []setting {
	return []setting{
		{"audit.mode", "text", "whether calls are written down: auto, on or off", (*textValue)(&a.Mode)},
		{"audit.directory", "directory", "where they are written down, instead of in the data directory", (*textValue)(&a.Directory)},
		{"audit.data-events", "bool", "write down calls that put and get records, too", (*boolValue)(&a.DataEvents)},
		{"audit.file-size", "size", "size at which a file is followed by another", (*sizeValue)(&a.FileSize)},
		{"audit.file-age", "duration", "age at which a file is followed by another", (*durationValue)(&a.FileAge)},
		{"audit.total-size", "size", "most that all files may take; the oldest go", (*sizeValue)(&a.TotalSize)},
	}
}

// auditChecks are what is wrong with single values of the section.
func auditChecks(a Audit) []check {
	return []check{
		{"audit.mode", oneOf(a.Mode, AutoSwitch, On, Off)},
		{"audit.directory", checkData(a.Directory)},
		{"audit.file-size", atLeast(a.FileSize, minAuditFile)},
		{"audit.file-age", checkAge(a.FileAge)},
	}
}

// auditRelations are what is wrong between values of the section.
func auditRelations(a Audit) []check {
	return []check{{"audit.total-size", atLeast(a.TotalSize, 4*a.FileSize)}}
}

func atLeast(s, least Size) error {
	if s < least {
		return fmt.Errorf("%s is less than %s", s, least)
	}
	return nil
}

func checkAge(d time.Duration) error {
	if d < time.Minute || d > 366*24*time.Hour {
		return fmt.Errorf("%s is not between 1m and 8784h", d)
	}
	return nil
}

// Metrics says who may read them.
type Metrics struct {
	// From is AutoPeers, AnyPeer, LoopbackPeers or NoPeer.
	From Peers
}

// Controls are our own calls for development, below /_headrace/.
type Controls struct {
	// Origins are the origins of web pages that may use them, such as http://localhost:3000.
	Origins List
}

// pageSettings are the keys about what the port has beside AWS's calls.
func pageSettings(c *Config) []setting {
	return []setting{
		{"metrics.from", "text", "who may read /metrics: auto, any, loopback or none", (*textValue)(&c.Metrics.From)},
		{"controls.origins", "list", "origins of web pages that may use the controls of dev, such as http://localhost:3000", (*textValue)(&c.Controls.Origins)},
	}
}

// checkOrigins takes what browsers send as Origin: a scheme, a host and a port, and nothing else. A
// star would let in every page.
func checkOrigins(l List) error {
	for _, o := range l.Items() {
		u, err := url.Parse(o)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || o != u.Scheme+"://"+u.Host || strings.Contains(o, "*") {
			return fmt.Errorf("%q is not an origin such as http://localhost:3000", o)
		}
	}
	return nil
}
