package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Hidden stands where something was that must not be written down. The words are CloudTrail's.
const Hidden = "HIDDEN_DUE_TO_SECURITY_REASONS"

// Secret says of a member's name that its value must not be written down.
type Secret func(member string) bool

// maxDepth is how deep an object may be nested; AWS's are not a quarter of it.
const maxDepth = 32

var errTooDeep = errors.New("nested too deep")

// Redact returns a JSON object as CloudTrail shows parameters: members begin with a small letter, and
// Hidden stands for the values of secret ones. It returns nil for what is not an object. The texts
// that were hidden come with it, for errors that repeat them: see Hide.
func Redact(object []byte, secret Secret) (shown json.RawMessage, hidden []string) {
	d := json.NewDecoder(bytes.NewReader(object))
	d.UseNumber()
	w := redacting{d: d, secret: secret}
	if err := w.value(0); err != nil || w.out.Len() == 0 || w.out.Bytes()[0] != '{' {
		return nil, nil
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, nil
	}
	return w.out.Bytes(), w.hidden
}

// Hide puts Hidden in the place of texts that must not be written down.
func Hide(message string, texts []string) string {
	for _, t := range texts {
		message = strings.ReplaceAll(message, t, Hidden)
	}
	return message
}

// redacting copies a document from d to out.
type redacting struct {
	d      *json.Decoder
	out    bytes.Buffer
	secret Secret
	hidden []string
}

func (w *redacting) value(depth int) error {
	t, err := w.d.Token()
	if err != nil {
		return err
	}
	if open, ok := t.(json.Delim); ok {
		if depth == maxDepth {
			return errTooDeep
		}
		if open == '{' {
			return w.object(depth)
		}
		return w.list(depth)
	}
	return w.write(t)
}

func (w *redacting) object(depth int) error {
	w.out.WriteByte('{')
	for first := true; w.d.More(); first = false {
		if !first {
			w.out.WriteByte(',')
		}
		t, err := w.d.Token()
		if err != nil {
			return err
		}
		name, _ := t.(string)
		if err := w.write(small(name)); err != nil {
			return err
		}
		w.out.WriteByte(':')
		if w.secret(name) {
			var skipped json.RawMessage
			if err := w.d.Decode(&skipped); err != nil {
				return err
			}
			var text string
			if json.Unmarshal(skipped, &text) == nil && text != "" {
				w.hidden = append(w.hidden, text)
			}
			if err := w.write(Hidden); err != nil {
				return err
			}
			continue
		}
		if err := w.value(depth + 1); err != nil {
			return err
		}
	}
	w.out.WriteByte('}')
	_, err := w.d.Token()
	return err
}

func (w *redacting) list(depth int) error {
	w.out.WriteByte('[')
	for first := true; w.d.More(); first = false {
		if !first {
			w.out.WriteByte(',')
		}
		if err := w.value(depth + 1); err != nil {
			return err
		}
	}
	w.out.WriteByte(']')
	_, err := w.d.Token()
	return err
}

// write appends a scalar.
func (w *redacting) write(v any) error {
	text, err := json.Marshal(v)
	w.out.Write(text)
	return err
}

// small returns a member's name as CloudTrail spells it.
func small(name string) string {
	first, size := utf8.DecodeRuneInString(name)
	if size == 0 {
		return ""
	}
	return string(unicode.ToLower(first)) + name[size:]
}
