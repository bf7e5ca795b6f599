package config

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

func TestPrecedence(t *testing.T) {
	path := write(t, "listen: file:1\nregion: file-1\naccount: 000000000012\nlog:\n  level: warn\n")
	loaded, err := Load(Inputs{
		File:    path,
		Environ: []string{"HOME=/", "HEADRACE_LISTEN=env:2", "HEADRACE_REGION=env-2", "HEADRACE_ACCOUNT="},
		Flags:   map[string]string{"listen": "flag:3"},
	})
	if err != nil {
		t.Fatal(err)
	}
	f := func(key, got, want, source string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
		if loaded.Sources[key] != source {
			t.Errorf("%s: got source %q, want %q", key, loaded.Sources[key], source)
		}
	}
	f("listen", loaded.Listen, "flag:3", "flag --listen")
	f("region", loaded.Region, "env-2", "environment variable HEADRACE_REGION")
	f("account", loaded.Account, "000000000012", path+":3") // unquoted, and octal to YAML
	f("log.level", loaded.Log.Level.String(), "WARN", path+":5")
	f("drain-timeout", loaded.DrainTimeout.String(), "10s", "default")
}

func TestFileFromVariable(t *testing.T) {
	path := write(t, "region: eu-west-1\n")
	loaded, err := Load(Inputs{Environ: []string{"HEADRACE_CONFIG=" + path}})
	if err != nil || loaded.Region != "eu-west-1" {
		t.Fatalf("got %v, %v", loaded, err)
	}
	other := write(t, "region: eu-west-2\n")
	loaded, err = Load(Inputs{File: other, Environ: []string{"HEADRACE_CONFIG=" + path}})
	if err != nil || loaded.Region != "eu-west-2" {
		t.Fatalf("the flag must win: got %v, %v", loaded, err)
	}
	if _, err := Load(Inputs{File: filepath.Join(t.TempDir(), "absent.yaml")}); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("a named file that is not there: got %v", err)
	}
}

func TestFileErrors(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		path := write(t, text)
		_, err := Load(Inputs{File: path})
		if err == nil {
			t.Errorf("%q: got no error, want %q", text, want)
			return
		}
		if got := strings.ReplaceAll(err.Error(), path, "FILE"); got != want {
			t.Errorf("%q:\n got %s\nwant %s", text, got, want)
		}
	}
	f("region: eu-west-1\n\nlisen: a:1\n", `read configuration FILE:3: unknown key "lisen"; did you mean listen?`)
	f("limits:\n  stream: 4\n", `read configuration FILE:2: unknown key "limits.stream"; did you mean limits.streams?`)
	f("limits.streams: 4\nzzzzzz: 1\n", `read configuration FILE:2: unknown key "zzzzzz"`)
	f("log: info\n", `read configuration FILE:1: log is a section: want keys and values under it`)
	f("listen:\n", `read configuration FILE:1: listen has no value; leave the key out to keep the default`)
	f("listen: [a, b]\n", `read configuration FILE:1: listen: want one value`)
	f("- listen\n", `read configuration FILE:1: want keys and values`)
	f("region: a\nregion: b\n", `read configuration FILE:2: region was given already at FILE:1`)
	f("listen: \"a\n", `read configuration FILE: line 2: found unexpected end of stream`)
	f("region: a\n---\nregion: b\n", `read configuration FILE: line 2: a second document`)
	f("memory: 512\n", `memory: "512" is not a size such as 512MiB (from FILE:1)`)
	f("\ntransition-delay: 5\n", `transition-delay: "5" is not a duration such as 5s (from FILE:2)`)
	f("log:\n  format: xml\n", `log.format: "xml" is neither text nor json (from FILE:2)`)
}

func TestEmptyFile(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "---\n"} {
		if _, err := Load(Inputs{File: write(t, text)}); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestUnknownVariablesWarn(t *testing.T) {
	loaded, err := Load(Inputs{Environ: []string{"HEADRACE_PORT=tcp://10.0.0.1:4566", "HEADRACE_LISTE=secret", "HEADRACE_CONFIG="}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"environment variable HEADRACE_LISTE is no configuration key; did you mean HEADRACE_LISTEN?",
		"environment variable HEADRACE_PORT is no configuration key",
	}
	if !slices.Equal(loaded.Warnings, want) {
		t.Errorf("got %q, want %q", loaded.Warnings, want)
	}
}

func TestValidateNamesTheKey(t *testing.T) {
	f := func(key string, change func(*Config)) {
		t.Helper()
		c := Default()
		change(&c)
		var bad *KeyError
		if err := c.Validate(); !errors.As(err, &bad) || bad.Key != key {
			t.Errorf("got %v, want an error that names %s", err, key)
		}
	}
	if err := Default().Validate(); err != nil {
		t.Fatalf("defaults: %v", err)
	}
	f("listen", func(c *Config) { c.Listen = "4566" })
	f("listen", func(c *Config) { c.Listen = "host:http" })
	f("listen", func(c *Config) { c.Listen = "a'$(b):1" })
	f("memory", func(c *Config) { c.Memory = 1 })
	f("transition-delay", func(c *Config) { c.TransitionDelay = -time.Second })
	f("account", func(c *Config) { c.Account = "12345678901x" })
	f("region", func(c *Config) { c.Region = "US East" })
	f("node-key", func(c *Config) { c.NodeKey = "env:" })
	f("node-key", func(c *Config) { c.NodeKey = "env:A B" })
	f("node-key", func(c *Config) { c.NodeKey = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" })
	f("node-key", func(c *Config) { c.NodeKey = "headrace-node-key-v1 AAAA 00000000" })
	f("node-key", func(c *Config) { c.NodeKey = "a\x00" })
	f("node-key", func(c *Config) { c.NodeKey = "gcp-kms://projects/p/locations/l/keyRings/r/cryptoKeys/k" })
	f("node-key", func(c *Config) { c.NodeKey = "hcvault://root:hunter2@vault.example/transit/keys/a" })
	f("drain-timeout", func(c *Config) { c.DrainTimeout = 2 * time.Hour })
	f("limits.streams", func(c *Config) { c.Limits.Streams = 0 })
	f("limits.shards", func(c *Config) { c.Limits.Shards = -1 })
	f("limits.request-body", func(c *Config) { c.Limits.RequestBody = 10 })
	f("limits.stream-bytes", func(c *Config) { c.Limits.StreamBytes = Share{} })
	f("limits.stream-bytes", func(c *Config) { c.Limits.StreamBytes = Share{Bytes: 1 << 20} })
	f("limits.low-water", func(c *Config) { c.Limits.LowWater = Share{Percent: 60} })
	f("limits.mode", func(c *Config) { c.Limits.Mode = "AWS" })
	f("on-demand.scaling", func(c *Config) { c.OnDemand.Scaling = "" })
	f("on-demand.shards", func(c *Config) { c.OnDemand.Shards = 0 })
	f("log.format", func(c *Config) { c.Log.Format = "" })
}

// A setting is printed, so a key that is given in the place of its name is not repeated.
func TestKeyIsNotRepeated(t *testing.T) {
	const key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	_, err := Load(Inputs{Environ: []string{"HEADRACE_NODE_KEY=" + key}})
	if err == nil || strings.Contains(err.Error(), key) {
		t.Errorf("got %v", err)
	}
}

func TestCheck(t *testing.T) {
	if err := Check("memory", "1GiB"); err != nil {
		t.Error(err)
	}
	if err := Check("log.level", "loud"); err == nil || err.Error() != `"loud" is none of debug, info, warn, error` {
		t.Errorf("got %v", err)
	}
	if Check("limits.streams", "0") == nil || Check("no.such", "1") == nil || Check("memory", "0MiB") == nil {
		t.Error("bad values passed")
	}
}

// The printed configuration is itself a configuration file, and says where each value came from.
func TestWriteYAML(t *testing.T) {
	loaded, err := Load(Inputs{
		Environ: []string{"HEADRACE_LIMITS_STREAMS=7"},
		Flags:   map[string]string{"memory": "64MiB", "log.level": "debug"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := loaded.WriteYAML(&out); err != nil {
		t.Fatal(err)
	}
	const want = `listen: 127.0.0.1:4566 # default
data: "" # default
wal-size: auto # default
memory: 64MiB # flag --memory
transition-delay: 0s # default
account: "000000000000" # default
region: us-east-1 # default
node-key: "" # default
encrypt: false # default
drain-timeout: 10s # default
limits:
  mode: off # default
  streams: 7 # environment variable HEADRACE_LIMITS_STREAMS
  shards: 10000 # default
  request-body: 16MiB # default
  connections: 8192 # default
  connections-per-address: 2048 # default
  requests-per-address: 100000 # default
  requests-per-key: 100000 # default
  stream-bytes: 80% # default
  low-water: auto # default
on-demand:
  scaling: auto # default
  shards: 200 # default
tls:
  mode: auto # default
  cert: "" # default
  key: "" # default
  san: "" # default
  cleartext: auto # default
  client-ca: "" # default
  client-certificate: require # default
  acme-domains: "" # default
  acme-email: "" # default
  acme-directory: https://acme-v02.api.letsencrypt.org/directory # default
  acme-ca: "" # default
audit:
  mode: auto # default
  directory: "" # default
  data-events: false # default
  file-size: 64MiB # default
  file-age: 24h0m0s # default
  total-size: 1GiB # default
metrics:
  from: auto # default
controls:
  origins: "" # default
log:
  level: debug # flag --log-level
  format: text # default
  slow: 5s # default
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	again, err := Load(Inputs{File: write(t, out.String())})
	if err != nil || again.Config != loaded.Config {
		t.Errorf("read back: got %+v, %v, want %+v", again, err, loaded.Config)
	}
}

func TestExampleFile(t *testing.T) {
	loaded, err := Load(Inputs{File: "../../headrace.example.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	if loaded.Config != Default() {
		t.Errorf("headrace.example.yaml differs from the defaults: got %+v, want %+v", loaded.Config, Default())
	}
	for _, k := range Keys() {
		if loaded.Sources[k.Name] == SourceDefault {
			t.Errorf("headrace.example.yaml lacks %s: add it with a comment and its default, %s", k.Name, k.Default)
		}
	}
}

func TestSize(t *testing.T) {
	f := func(in string, want Size, text string) {
		t.Helper()
		got, err := ParseSize(in)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%q: got %d (%s), %v, want %d (%s)", in, got, got, err, want, text)
		}
	}
	f("512MiB", 512<<20, "512MiB")
	f("1.5 GiB", 3<<29, "1536MiB")
	f("2Gi", 2<<30, "2GiB")
	f("1GB", 1e9, "1000000000B")
	f("10kB", 1e4, "10000B")
	f("0B", 0, "0B")
	for _, bad := range []string{"", "512", "MiB", "-1MiB", "1.2.3MiB", "1XiB", "1e3MiB", "99999999TiB", "InfB", "NaNB"} {
		if n, err := ParseSize(bad); err == nil {
			t.Errorf("%q: got %d, want an error", bad, n)
		}
	}
}

func TestLinuxMemory(t *testing.T) {
	f := func(want int64, files map[string]string) {
		t.Helper()
		root := fstest.MapFS{}
		for name, text := range files {
			root[name] = &fstest.MapFile{Data: []byte(text)}
		}
		if got := linuxMemory(root); got != want {
			t.Errorf("got %d, want %d with %v", got, want, files)
		}
	}
	const meminfo = "MemTotal:        4000 kB\nMemFree:  1 kB\n"
	f(fallbackMemory, nil)
	f(4000<<10, map[string]string{"proc/meminfo": meminfo})
	f(4000<<10, map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"})
	f(1000, map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1000\n"})
	f(700, map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/memory.max": "700\n", "sys/fs/cgroup/a/b/memory.max": "900\n"})
	f(800, map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "5:cpu,memory:/x\n4:cpu:/y\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "800\n"})
}

func TestMemoryBytes(t *testing.T) {
	c := Default()
	if n := c.MemoryBytes(); n < minMemory || n > machineMemory() {
		t.Errorf("auto: got %d of %d", n, machineMemory())
	}
	c.Memory = 64 << 20
	if n := c.MemoryBytes(); n != 64<<20 {
		t.Errorf("got %d", n)
	}
}

func TestKeySpellings(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range Keys() {
		if seen[k.Env()] || seen[k.Flag()] {
			t.Errorf("%s: %s or --%s is taken by another key", k.Name, k.Env(), k.Flag())
		}
		seen[k.Env()], seen[k.Flag()] = true, true
	}
	if k := (Key{Name: "limits.request-body"}); k.Env() != "HEADRACE_LIMITS_REQUEST_BODY" || k.Flag() != "limits-request-body" {
		t.Errorf("got %s, %s", k.Env(), k.Flag())
	}
	if Default().Log.Level != slog.LevelInfo {
		t.Error("the default level must be info")
	}
}

func FuzzParseFile(f *testing.F) {
	f.Add([]byte("listen: a:1\nlimits:\n  streams: 4\n"))
	f.Add([]byte("a: &x [*x]\n"))
	f.Add([]byte("<<: {listen: b}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := parseFile("f", text)
		if err != nil {
			return
		}
		for key, v := range l.values {
			_ = Check(key, v)
			if l.sources[key] == "" {
				t.Errorf("%s has no source", key)
			}
		}
	})
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "headrace.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
