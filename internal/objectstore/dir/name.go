package dir

import (
	"fmt"
	"strings"
)

const (
	// pieceBytes is how many bytes of a key one name holds. Escaped, with its mark, a name is at
	// most 241 bytes, and file systems take 255.
	pieceBytes = 80

	// A directory's name ends in one of these marks, an object's in neither; a temporary file's
	// begins with its own. None of them occurs in an escaped piece.
	levelMark = '+'
	moreMark  = '='
	tempMark  = '~'
	// emptyName is the name of an object whose last piece is empty.
	emptyName = "%"

	hexDigits = "0123456789abcdef"
)

// pathOf returns the path of the object's file below the bucket's directory. Different keys have
// different paths, also for file systems that fold case or normalise Unicode; every element is a
// name that Linux, macOS and Windows take; and keyOf leads back.
//
// A key is cut at each slash and after every pieceBytes bytes in between. All pieces but the last
// are directories: marked + where the slash was, = where the key was only too long. So an object
// and a directory never want the same name, and all keys below a directory begin alike and stand
// next to each other in the order of keys, which is what listing in order needs.
func pathOf(key string) string {
	var b strings.Builder
	for {
		component, rest, more := strings.Cut(key, "/")
		for len(component) >= pieceBytes {
			escape(&b, component[:pieceBytes])
			b.WriteByte(moreMark)
			b.WriteByte('/')
			component = component[pieceBytes:]
		}
		escape(&b, component)
		if !more {
			if component == "" {
				b.WriteString(emptyName)
			}
			return b.String()
		}
		b.WriteByte(levelMark)
		b.WriteByte('/')
		key = rest
	}
}

// element is one name of a path, decoded.
type element struct {
	// text is what the name adds to the key, a level's slash included.
	text string
	// dir says that it is a directory's.
	dir bool
}

// decode reads a name that pathOf gives; ok is false for every other.
func decode(name string) (e element, ok bool) {
	if name == emptyName {
		return element{}, true
	}
	if name == "" {
		return element{}, false
	}
	mark := name[len(name)-1]
	e.dir = mark == levelMark || mark == moreMark
	escaped := name
	if e.dir {
		escaped = name[:len(name)-1]
	}
	piece, ok := unescape(escaped)
	if !ok || (mark == moreMark) != (len(piece) == pieceBytes) || len(piece) > pieceBytes || !e.dir && piece == "" {
		return element{}, false
	}
	e.text = piece
	if mark == levelMark {
		e.text += "/"
	}
	return e, true
}

// keyOf returns the key whose object lives at path.
func keyOf(path string) (key string, ok bool) {
	names := strings.Split(path, "/")
	for i, name := range names {
		e, ok := decode(name)
		if !ok || e.dir != (i < len(names)-1) {
			return "", false
		}
		key += e.text
	}
	return key, true
}

// escape writes a piece of a key so that no file system finds it hard: lower-case letters, digits,
// hyphen, underscore and inner dots stand for themselves, every other byte is a percent sign and
// two digits. The first letter of names that Windows keeps for devices is escaped too.
func escape(b *strings.Builder, piece string) {
	for i := range len(piece) {
		c := piece[i]
		plain := c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' ||
			c == '.' && i > 0 && i < len(piece)-1
		if !plain || i == 0 && isDevice(piece) {
			b.WriteByte('%')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
			continue
		}
		b.WriteByte(c)
	}
}

// unescape undoes escape and takes nothing else.
func unescape(escaped string) (piece string, ok bool) {
	raw := make([]byte, 0, len(escaped))
	for i := 0; i < len(escaped); i++ {
		c := escaped[i]
		if c == '%' {
			if i+2 >= len(escaped) {
				return "", false
			}
			high, low := strings.IndexByte(hexDigits, escaped[i+1]), strings.IndexByte(hexDigits, escaped[i+2])
			if high < 0 || low < 0 {
				return "", false
			}
			c = byte(high<<4 | low)
			i += 2
		}
		if c == 0 || c == '/' {
			return "", false
		}
		raw = append(raw, c)
	}
	var again strings.Builder
	escape(&again, string(raw))
	return string(raw), again.String() == escaped
}

// isDevice says whether Windows takes the name, whatever follows its first dot, for a device.
func isDevice(name string) bool {
	base, _, _ := strings.Cut(name, ".")
	switch base {
	case "con", "prn", "aux", "nul":
		return true
	}
	return len(base) == 4 && (base[:3] == "com" || base[:3] == "lpt") && base[3] >= '0' && base[3] <= '9'
}

// tempName is the name of the n-th temporary file.
func tempName(n uint64) string { return fmt.Sprintf("%c%d", tempMark, n) }

// isTemp says whether a name is one that tempName gives.
func isTemp(name string) bool { return name != "" && name[0] == tempMark }
