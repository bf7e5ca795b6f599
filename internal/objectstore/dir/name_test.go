package dir

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/headrace/headrace/internal/objectstore"
)

func TestPathOf(t *testing.T) {
	long := strings.Repeat("x", pieceBytes)
	f := func(key, want string) {
		t.Helper()
		if got := pathOf(key); got != want {
			t.Errorf("pathOf(%q) = %q, want %q", key, got, want)
		}
	}
	f("a", "a")
	f("blocks/0001.blk", "blocks+/0001.blk")
	f("/", "+/%")
	f("a//b", "a+/+/b")
	f("../a", "%2e%2e+/a")
	f("A b", "%41%20b")
	f("é", "%c3%a9")
	f("con", "%63on")
	f("nul.txt/com1", "%6eul.txt+/%63om1")
	f("com", "com")
	f(".a.", "%2ea%2e")
	f("~1", "%7e1")
	f("a+/b=", "a%2b+/b%3d")
	f("%", "%25")
	f(long, long+"=/%")
	f(long+"y/z", long+"=/y+/z")
	f(long[1:], long[1:])
}

func TestForeignNamesAreNotOurs(t *testing.T) {
	f := func(name string) {
		t.Helper()
		if e, ok := decode(name); ok {
			t.Errorf("decode(%q) = %+v, want a refusal", name, e)
		}
	}
	f("")
	f(".DS_Store")
	f("Thumbs.db")
	f("a.")
	f("%2")
	f("%zz")
	f("%2E")
	f("%61") // a stands for itself
	f("con")
	f("a=")  // a piece that is not full leads nowhere
	f("%2f") // no key has a slash within a piece
	f("%00")
	f("~7")
	f(strings.Repeat("x", pieceBytes))
	f(strings.Repeat("x", pieceBytes) + "+")
}

// checkPath holds a path to what file systems ask for.
func checkPath(t *testing.T, key, path string) {
	t.Helper()
	if !fs.ValidPath(path) {
		t.Errorf("pathOf(%q) = %q, which is not a valid path", key, path)
	}
	for name := range strings.SplitSeq(path, "/") {
		base, _, _ := strings.Cut(name, ".")
		switch {
		case name == "" || len(name) > 255:
			t.Errorf("pathOf(%q) has a name of %d bytes", key, len(name))
		case strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.%+=") != "":
			t.Errorf("pathOf(%q) has the name %q", key, name)
		case name[0] == '.' || name[len(name)-1] == '.':
			t.Errorf("pathOf(%q) has the name %q, which begins or ends in a dot", key, name)
		case isDevice(base):
			t.Errorf("pathOf(%q) has the name %q, which is a device", key, name)
		}
	}
	if back, ok := keyOf(path); !ok || back != key {
		t.Errorf("keyOf(%q) = %q, %v; want %q", path, back, ok, key)
	}
}

func FuzzPathOf(f *testing.F) {
	long := strings.Repeat("É", 400)
	for _, key := range []string{"a", "a/b", "..", "../../etc", "/", "//", "A", "con.txt", "LPT1", "a.", "\x01", long, long + "/" + long, "a%2fb", "~1"} {
		f.Add(key, "a")
		f.Add(key, strings.ToLower(key))
		f.Add(key, key+"/")
	}
	f.Fuzz(func(t *testing.T, one, other string) {
		for _, key := range []string{one, other} {
			if objectstore.CheckKey(key) != nil {
				return
			}
			checkPath(t, key, pathOf(key))
		}
		a, b := pathOf(one), pathOf(other)
		if one != other && strings.EqualFold(a, b) {
			t.Errorf("%q and %q share the path %q", one, other, a)
		}
		// A file system cannot have a file where another key needs a directory.
		if strings.HasPrefix(b, a+"/") || strings.HasPrefix(a, b+"/") {
			t.Errorf("one of %q and %q lies below the other", a, b)
		}
	})
}

func FuzzKeyOf(f *testing.F) {
	for _, path := range []string{"a", "a+/b", "%", "%2e", "%2E", "a=/b", "..", "a/../b", "+/+/%", strings.Repeat("x", pieceBytes) + "=/%"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if key, ok := keyOf(path); ok && pathOf(key) != path {
			t.Errorf("keyOf(%q) = %q, whose path is %q", path, key, pathOf(key))
		}
	})
}
