package models_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/headrace/headrace/internal/gen/awsgen/models"
)

// TestSource checks each stored model against the digest SOURCE.md records for it.
func TestSource(t *testing.T) {
	source, err := os.ReadFile("SOURCE.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, service := range models.Services() {
		text, err := models.Text(service)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(text)
		row := "| " + service + " | botocore/data/" + service + "/"
		at := strings.Index(string(source), row)
		if at < 0 {
			t.Errorf("%s: no row in SOURCE.md", service)
			continue
		}
		line, _, _ := strings.Cut(string(source)[at:], "\n")
		if want := hex.EncodeToString(sum[:]); !strings.Contains(line, want) {
			t.Errorf("%s: got row %s, want digest %s: run make models", service, line, want)
		}
		if bytes.Contains(text, []byte(`"documentation":"`)) {
			t.Errorf("%s: documentation was not removed", service)
		}
	}
}

func TestUnknownService(t *testing.T) {
	if _, err := models.Text("nosuch"); err == nil {
		t.Error("got no error for a service without a model")
	}
}

func TestPackIsReproducible(t *testing.T) {
	text := []byte(strings.Repeat("the same text ", 100))
	a, err := models.Pack(text)
	if err != nil {
		t.Fatal(err)
	}
	b, err := models.Pack(text)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Error("the same text was packed to different bytes")
	}
}
