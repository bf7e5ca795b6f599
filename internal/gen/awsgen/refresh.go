package main

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/headrace/headrace/internal/gen/awsgen/model"
	"github.com/headrace/headrace/internal/gen/awsgen/models"
)

// The release the models come from. To move to another, change both, run the models mode (which
// prints the digest it found if this one does not fit), then the generate mode.
const (
	botocoreVersion = "1.44.4"
	botocoreSHA256  = "5a9303fc65e9a133bbc515fbb8d5c486787fb12108c37b2143c1c111c4a46525"
)

// modelsDir is where the stored models live below the module's root.
const modelsDir = "internal/gen/awsgen/models"

// refreshModels downloads the pinned botocore wheel and stores its models.
func refreshModels(ctx context.Context, root string) error {
	wheel, err := download(ctx)
	if err != nil {
		return err
	}
	if got := digest(wheel); got != botocoreSHA256 {
		return fmt.Errorf("check botocore %s: sha256 is %s, want %s", botocoreVersion, got, botocoreSHA256)
	}
	z, err := zip.NewReader(bytes.NewReader(wheel), int64(len(wheel)))
	if err != nil {
		return fmt.Errorf("open botocore wheel: %w", err)
	}
	var source strings.Builder
	fmt.Fprintf(&source, sourceHead, botocoreVersion, botocoreSHA256)
	for _, service := range models.Services() {
		text, from, err := extract(z, service)
		if err != nil {
			return err
		}
		packed, err := models.Pack(text)
		if err != nil {
			return fmt.Errorf("pack model %s: %w", service, err)
		}
		if err := write(filepath.Join(root, modelsDir, service+".json.gz"), packed); err != nil {
			return err
		}
		fmt.Fprintf(&source, "| %s | %s | %s |\n", service, from, digest(text))
	}
	return write(filepath.Join(root, modelsDir, "SOURCE.md"), []byte(source.String()))
}

const sourceHead = `# Where these models come from

The files here are the service models (service-2.json) of the Python package botocore, version
%s, with all documentation removed and nothing else changed, compressed with gzip.

- Wheel sha256: %s
- Licence: Apache-2.0, copyright Amazon.com, Inc. or its affiliates
- Refreshed with: make models (docs/reference/models.md)

The digests below are of the stripped, uncompressed text.

| model | path in the wheel | sha256 of the text |
|---|---|---|
`

// download returns the wheel, fetched with pip into a directory that is removed again.
func download(ctx context.Context) ([]byte, error) {
	dir, err := os.MkdirTemp("", "awsgen-")
	if err != nil {
		return nil, fmt.Errorf("make temporary directory: %w", err)
	}
	defer os.RemoveAll(dir)
	pip := exec.CommandContext(ctx, "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", dir, "botocore=="+botocoreVersion)
	pip.Stderr = os.Stderr
	if err := pip.Run(); err != nil {
		return nil, fmt.Errorf("download botocore %s: %w", botocoreVersion, err)
	}
	wheels, err := filepath.Glob(filepath.Join(dir, "*.whl"))
	if err != nil || len(wheels) != 1 {
		return nil, fmt.Errorf("download botocore %s: got %d wheels (%v)", botocoreVersion, len(wheels), err)
	}
	wheel, err := os.ReadFile(wheels[0])
	if err != nil {
		return nil, fmt.Errorf("read botocore wheel: %w", err)
	}
	return wheel, nil
}

// extract returns the stripped model of the newest API version of a service and its path.
func extract(z *zip.Reader, service string) (text []byte, from string, err error) {
	var found *zip.File
	for _, f := range z.File {
		ok, _ := path.Match("botocore/data/"+service+"/*/service-2.json.gz", f.Name)
		if ok && (found == nil || f.Name > found.Name) {
			found = f
		}
	}
	if found == nil {
		return nil, "", fmt.Errorf("extract model %s: not in the wheel", service)
	}
	raw, err := read(found)
	if err != nil {
		return nil, "", fmt.Errorf("extract model %s: %w", service, err)
	}
	text, err = model.Strip(raw)
	if err != nil {
		return nil, "", fmt.Errorf("extract model %s: %w", service, err)
	}
	if _, err := model.Parse(service, text); err != nil {
		return nil, "", err
	}
	return text, found.Name, nil
}

func read(f *zip.File) (text []byte, err error) {
	packed, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, packed.Close()) }()
	z, err := gzip.NewReader(packed)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
