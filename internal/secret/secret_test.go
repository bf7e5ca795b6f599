package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/headrace/headrace/internal/vfs"
	"github.com/headrace/headrace/internal/vfs/errfs"
	"github.com/headrace/headrace/internal/vfs/memfs"
)

// holder is a struct of somebody who did not think of printing.
type holder struct {
	Shown  Text
	hidden Text
	key    Key
	Box    *Box
}

// TestNothingShows prints secrets in every way there is.
func TestNothingShows(t *testing.T) {
	const word = "hunter2hunter2"
	key, err := KeyOf(bytes.Repeat([]byte{0xab}, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	h := holder{Shown: NewText(word), hidden: NewText(word), key: key, Box: key.Box("test")}
	var out bytes.Buffer
	for _, v := range []any{h, &h, []Text{h.hidden}, map[string]any{"a": h.hidden, "b": h.key}, h.hidden, h.key, &h.hidden, &h.key, struct{ a any }{h.hidden}} {
		for _, verb := range "vsdqxXtTeEfgGbcoU" {
			for _, flag := range []string{"", "+", "#", "0", " "} {
				fmt.Fprintf(&out, "%"+flag+string(verb)+"\n", v)
			}
		}
		fmt.Fprintln(&out, v)
		if text, err := json.Marshal(v); err == nil {
			out.Write(text)
		}
		for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(handler).Info("x", "v", v, slog.Group("g", "v", v))
		}
		fmt.Fprintln(&out, fmt.Errorf("wrapped: %v", v))
	}
	text := strings.ToLower(out.String())
	forms := []string{word, hex.EncodeToString([]byte(word)), base64.StdEncoding.EncodeToString([]byte(word)), "abababab", "171 171", "q6ur"}
	for _, form := range forms {
		if at := strings.Index(text, strings.ToLower(form)); at >= 0 {
			t.Errorf("%q shows in %q", form, text[max(0, at-60):at+60])
		}
	}
	if !strings.Contains(text, shown) {
		t.Error("nothing says that a secret stood here")
	}
	if got := h.hidden.Reveal(); got != word {
		t.Errorf("Reveal gave %q", got)
	}
	if (Text{}).Reveal() != "" || !(Key{}).IsZero() || key.IsZero() {
		t.Error("the zero values are not empty")
	}
}

func TestParseKey(t *testing.T) {
	key := NewKey()
	line := key.Text().Reveal()
	bare := strings.Fields(line)[1]
	f := func(text string, ok bool) {
		t.Helper()
		got, err := ParseKey(text)
		if ok && (err != nil || !bytes.Equal(got.Bytes(), key.Bytes()) || got.ID() != key.ID()) {
			t.Errorf("%q: got %v, want the key", text, err)
		}
		if !ok && !errors.Is(err, ErrKey) {
			t.Errorf("%q: got %v, want ErrKey", text, err)
		}
		if err != nil && strings.Contains(err.Error(), bare[:8]) {
			t.Errorf("the error repeats the key: %v", err)
		}
	}
	f(line, true)
	f(" \n"+line+"\n", true)
	f(bare, true)
	f("", false)
	f(bare+" "+bare, false)
	f(bare[:40], false)
	f(base64.StdEncoding.EncodeToString(make([]byte, 31)), false)
	f(strings.Replace(line, "v1", "v2", 1), false)
	f(strings.TrimSuffix(line, "\n")+"0", false)
	damaged := []byte(line)
	damaged[len(keyWord)+3] ^= 1
	f(string(damaged), false)
	if _, err := KeyOf(nil); !errors.Is(err, ErrKey) {
		t.Errorf("no bytes: got %v, want ErrKey", err)
	}
}

func TestBox(t *testing.T) {
	key, context := NewKey(), []byte("auth/key/AKIA")
	box := key.Box("secrets")
	for _, n := range []int{0, 1, 40, 5000} {
		value := bytes.Repeat([]byte{'s'}, n)
		sealed := box.Seal(value, context)
		if len(sealed) != n+Overhead || n > 8 && bytes.Contains(sealed, value[:8]) {
			t.Errorf("%d bytes became %d", n, len(sealed))
		}
		again := box.Seal(value, context)
		if bytes.Equal(sealed, again) {
			t.Error("two sealings are the same")
		}
		got, err := key.Box("secrets").Open(sealed, context)
		if err != nil || !bytes.Equal(got, value) {
			t.Errorf("%d bytes: got %d, %v", n, len(got), err)
		}
	}
	sealed := box.Seal([]byte("value"), context)
	f := func(b *Box, sealed, context []byte, want error) {
		t.Helper()
		if got, err := b.Open(sealed, context); !errors.Is(err, want) || got != nil {
			t.Errorf("got %q, %v; want %v", got, err, want)
		}
	}
	f(box, sealed, []byte("auth/key/ASIA"), ErrSealed)
	f(box, sealed, nil, ErrSealed)
	f(key.Box("tokens"), sealed, context, ErrSealed)
	f(NewKey().Box("secrets"), sealed, context, ErrOtherKey)
	for i := range sealed {
		f(box, sealed[:i], context, ErrSealed)
		changed := bytes.Clone(sealed)
		changed[i] ^= 0x40
		want := ErrSealed
		if i >= 1 && i < 1+idSize {
			want = ErrOtherKey
		}
		f(box, changed, context, want)
	}
	f(box, append(bytes.Clone(sealed), 0), context, ErrSealed)
}

func TestDerive(t *testing.T) {
	key := NewKey()
	seen := map[string]bool{}
	for _, s := range []string{string(key.Derive("a", "b", 30)), string(key.Derive("a", "c", 30)), string(key.Derive("b", "b", 30)), string(NewKey().Derive("a", "b", 30))} {
		if len(s) != 30 || seen[s] {
			t.Errorf("got %x twice, or not 30 bytes", s)
		}
		seen[s] = true
	}
	if !bytes.Equal(key.Derive("a", "b", 30), key.Derive("a", "b", 30)) {
		t.Error("the same derivation gives different bytes")
	}
}

func TestFile(t *testing.T) {
	fs := memfs.New()
	if _, err := ReadFile(fs, "node.key"); !errors.Is(err, vfs.ErrNotExist) {
		t.Errorf("without a file: got %v", err)
	}
	made, err := MakeFile(fs, "node.key")
	if err != nil {
		t.Fatal(err)
	}
	read, err := ReadFile(fs, "node.key")
	if err != nil || read.ID() != made.ID() || !bytes.Equal(read.Bytes(), made.Bytes()) {
		t.Errorf("got %v, want the key that was made", err)
	}
	for _, text := range []string{"", "rubbish", strings.Repeat("a", maxFile), strings.Repeat("a", 3*maxFile)} {
		if err := fs.Remove("node.key"); err != nil {
			t.Fatal(err)
		}
		if err := writeFile(fs, "node.key", []byte(text)); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadFile(fs, "node.key"); !errors.Is(err, ErrKey) {
			t.Errorf("a file of %d bytes: got %v, want ErrKey", len(text), err)
		}
	}
}

// TestFilePowerCuts cuts the power before every call to the disk: the key that was returned is there,
// and otherwise there is none or a whole one, and the next start makes or reads one.
func TestFilePowerCuts(t *testing.T) {
	errCut := errors.New("power cut")
	for seed := range uint64(40) {
		for cut := 1; ; cut++ {
			rng := rand.New(rand.NewPCG(seed, uint64(cut)))
			disk := memfs.New()
			var after *memfs.FS
			left := cut
			fs := errfs.New(disk, func(errfs.Call) error {
				if left--; left == 0 {
					after = disk.CrashClone(rng)
				}
				if left <= 0 {
					return errCut
				}
				return nil
			})
			made, err := MakeFile(fs, "node.key")
			if err == nil {
				after = disk.CrashClone(rng)
			}
			read, readErr := ReadFile(after, "node.key")
			switch {
			case err == nil && (readErr != nil || read.ID() != made.ID()):
				t.Fatalf("seed %d, cut %d: a key that was returned is gone: %v", seed, cut, readErr)
			case errors.Is(readErr, vfs.ErrNotExist):
				if _, err := MakeFile(after, "node.key"); err != nil {
					t.Fatalf("seed %d, cut %d: the next start: %v", seed, cut, err)
				}
			case readErr != nil:
				t.Fatalf("seed %d, cut %d: half a key: %v", seed, cut, readErr)
			}
			if err == nil {
				break
			}
		}
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add(NewKey().Text().Reveal())
	f.Add("AAAA")
	f.Add(keyWord + " AAAA 00000000")
	f.Fuzz(func(t *testing.T, text string) {
		key, err := ParseKey(text)
		if err != nil {
			return
		}
		if again, err := ParseKey(key.Text().Reveal()); err != nil || again.ID() != key.ID() {
			t.Fatalf("%q: written and read: %v", text, err)
		}
	})
}

func FuzzOpen(f *testing.F) {
	key, err := KeyOf(make([]byte, KeySize))
	if err != nil {
		f.Fatal(err)
	}
	box := key.Box("fuzz")
	f.Add(box.Seal([]byte("value"), nil), []byte(nil))
	f.Add([]byte{boxVersion}, []byte("x"))
	f.Fuzz(func(t *testing.T, sealed, context []byte) {
		if value, err := box.Open(sealed, context); err == nil && len(value)+Overhead != len(sealed) {
			t.Fatalf("%x opened to %x", sealed, value)
		}
	})
}
