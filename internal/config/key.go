package config

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// Prefix begins the name of every environment variable that is read.
const Prefix = "HEADRACE_"

// FileVariable names the configuration file when no flag does.
const FileVariable = Prefix + "CONFIG"

// Key describes one configuration key.
type Key struct {
	// Name is the dotted name used in the file: limits.streams.
	Name string
	// Type is the placeholder in help: address, size, duration, count, text, bool, list and so on.
	Type string
	// Usage says what the key does, as one phrase.
	Usage string
	// Default is the text of the default value.
	Default string
}

// Flag returns the name of the key's flag, without dashes.
func (k Key) Flag() string { return strings.ReplaceAll(k.Name, ".", "-") }

// Env returns the name of the key's environment variable.
func (k Key) Env() string { return envName(k.Name) }

func envName(key string) string {
	return Prefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(key))
}

// Keys returns every key in the order of the example file.
func Keys() []Key {
	c := Default()
	var keys []Key
	for _, s := range settings(&c) {
		keys = append(keys, Key{s.key, s.typ, s.usage, s.value.String()})
	}
	return keys
}

// Check reports whether text can be the value of the named key, whatever the others are. The error
// does not name the key.
func Check(name, text string) error {
	c := Default()
	for _, s := range settings(&c) {
		if s.key != name {
			continue
		}
		if err := s.value.Set(text); err != nil {
			return err
		}
		var bad *KeyError
		if errors.As(c.validateValues(), &bad) {
			return bad.Err
		}
		return nil
	}
	return fmt.Errorf("unknown key %q", name)
}

// setting ties a key to the field it sets.
type setting struct {
	key, typ, usage string
	value           value
}

// value is the text form of one field.
type value interface {
	Set(text string) error
	String() string
}

// settings is the table of every key, bound to the fields of c. All else is derived from it: flags,
// environment variables, file keys, printing.
func settings(c *Config) []setting {
	all := []setting{
		{"listen", "address", "address to listen on, host:port", (*textValue)(&c.Listen)},
		{"data", "directory", "directory to keep everything in, instead of memory", (*textValue)(&c.Data)},
		{"wal-size", "size", "size of the write-ahead log in the data directory", (*memoryValue)(&c.WALSize)},
		{"memory", "size", "memory for stored records and requests in flight; auto is a quarter of the machine", (*memoryValue)(&c.Memory)},
		{"transition-delay", "duration", "how long a stream stays CREATING, UPDATING or DELETING", (*durationValue)(&c.TransitionDelay)},
		{"account", "text", "account of callers whose access key is not a 12-digit account id", (*textValue)(&c.Account)},
		{"region", "text", "region named by connection hints", (*textValue)(&c.Region)},
		{"node-key", "key", "the node's key, made if it does not exist: a file, env:NAME, or the URI of a KMS's key that wraps it", (*textValue)(&c.NodeKey)},
		{"encrypt", "bool", "encrypt a new data directory under the node's key; one that exists stays as it is", (*boolValue)(&c.Encrypt)},
		{"drain-timeout", "duration", "how long requests in flight may go on after a stop was asked for", (*durationValue)(&c.DrainTimeout)},
		{"limits.mode", "text", "limits of what shards take and give, and of calls: off or aws; --limits is the same", (*textValue)(&c.Limits.Mode)},
		{"limits.streams", "count", "most streams an account may have in a region", (*countValue)(&c.Limits.Streams)},
		{"limits.shards", "count", "most open shards an account may have in a region", (*countValue)(&c.Limits.Shards)},
		{"limits.request-body", "size", "largest request body taken", (*sizeValue)(&c.Limits.RequestBody)},
		{"limits.connections", "count", "most open connections; further ones wait", (*countValue)(&c.Limits.Connections)},
		{"limits.connections-per-address", "count", "most open connections of one address; further ones are closed", (*countValue)(&c.Limits.ConnectionsPerAddress)},
		{"limits.requests-per-address", "count", "most requests a second of one address; 0 sets no bound", (*countValue)(&c.Limits.RequestsPerAddress)},
		{"limits.requests-per-key", "count", "most requests a second of one access key; 0 sets no bound", (*countValue)(&c.Limits.RequestsPerKey)},
		{"limits.stream-bytes", "share", "most of the disk that one stream may take, as a size or a percentage", (*shareValue)(&c.Limits.StreamBytes)},
		{"limits.low-water", "share", "free disk space below which the biggest writers are throttled; auto is 5%, at most 2GiB", (*lowWaterValue)(&c.Limits.LowWater)},
	}
	all = append(all, onDemandSettings(&c.OnDemand)...)
	all = append(all, tlsSettings(&c.TLS)...)
	all = append(all, auditSettings(&c.Audit)...)
	all = append(all, pageSettings(c)...)
	return append(all,
		setting{"log.level", "level", "least severe level logged: debug, info, warn or error", (*levelValue)(&c.Log.Level)},
		setting{"log.format", "text", "log format: text or json", (*textValue)(&c.Log.Format)},
		setting{"log.slow", "duration", "log requests that take so long, with their ids; 0s logs none", (*durationValue)(&c.Log.Slow)},
	)
}

type textValue string

func (v *textValue) Set(s string) error { *v = textValue(s); return nil }
func (v *textValue) String() string     { return string(*v) }

type countValue int

func (v *countValue) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil {
		return fmt.Errorf("%q is not a whole number", s)
	}
	*v = countValue(n)
	return nil
}

func (v *countValue) String() string { return strconv.Itoa(int(*v)) }

type boolValue bool

func (v *boolValue) Set(s string) error {
	b, err := strconv.ParseBool(s)
	if err != nil {
		return fmt.Errorf("%q is neither true nor false", s)
	}
	*v = boolValue(b)
	return nil
}

func (v *boolValue) String() string { return strconv.FormatBool(bool(*v)) }

type durationValue time.Duration

func (v *durationValue) Set(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 5s", s)
	}
	*v = durationValue(d)
	return nil
}

func (v *durationValue) String() string { return time.Duration(*v).String() }

type sizeValue Size

func (v *sizeValue) Set(s string) error {
	n, err := ParseSize(s)
	if err != nil {
		return err
	}
	*v = sizeValue(n)
	return nil
}

func (v *sizeValue) String() string { return Size(*v).String() }

type memoryValue Size

const autoText = "auto"

func (v *memoryValue) Set(s string) error {
	if s == autoText {
		*v = memoryValue(AutoMemory)
		return nil
	}
	n, err := ParseSize(s)
	if err == nil && n == AutoMemory {
		err = fmt.Errorf("%q is nothing at all", s)
	}
	if err != nil {
		return err
	}
	*v = memoryValue(n)
	return nil
}

func (v *memoryValue) String() string {
	if Size(*v) == AutoMemory {
		return autoText
	}
	return Size(*v).String()
}

type levelValue slog.Level

func (v *levelValue) Set(s string) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s)); err != nil {
		return fmt.Errorf("%q is none of debug, info, warn, error", s)
	}
	*v = levelValue(level)
	return nil
}

func (v *levelValue) String() string { return strings.ToLower(slog.Level(*v).String()) }
