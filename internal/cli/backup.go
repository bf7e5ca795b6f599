package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/spf13/cobra"

	"github.com/headrace/headrace/internal/admin"
	"github.com/headrace/headrace/internal/backup"
)

// backupReport is what backup prints as JSON.
type backupReport struct {
	File     string
	Endpoint string
	Taken    time.Time
	Objects  int
	Bytes    int64
}

// backupStall is how long a server may send nothing of a backup: before the first byte it moves to
// block files what is in its log alone.
const backupStall = 5 * time.Minute

// backup is the command that takes a backup of a running server.
func (a *App) backup() *cobra.Command {
	var endpoint, to, profile string
	out := &output{format: formatTable}
	cmd := &cobra.Command{
		Use:   "backup --to FILE",
		Short: "Take a backup of a running server",
		Long: `Take a backup of the data directory of a running server, as one tar file. Everything that
was answered before the command began is in it; the server goes on meanwhile.

The file gets its name, or takes the place of an older one, when it has arrived whole, every
checksum was compared, and it is on the disk. Until then it is called FILE.partial, which goes
away if anything fails. With - for FILE the backup goes to stdout: what reads it must look at
the exit code, or leave it to restore, which refuses a backup that was cut short.

Only processes of the server's own machine may take a backup, and from "headrace serve" only
with the root key of the server's account, found as the AWS CLI finds credentials. The address
is that of the "listen" setting, found as "headrace dev" finds it; AWS_CA_BUNDLE is as for
"headrace health".

Records, streams and tags are in the file as they are, not encrypted; secrets of access keys
are in it sealed with the node's key, which is not: keep that elsewhere, and keep it. One that
a KMS wraps is in it, wrapped. Certificates, the audit log and the write-ahead log are not.

The exit code is 0 if FILE is a whole backup, 1 if none was taken, 2 if the command was called
wrongly. Progress goes to stderr.`,
		Example: `  headrace backup --to /mnt/backup/headrace.tar
  headrace backup --to - | zstd > headrace.tar.zst
  headrace restore /mnt/backup/headrace.tar --data /var/lib/headrace`,
		Args: arguments(),
	}
	load := a.configFlags(cmd, "listen")
	cmd.Flags().StringVar(&to, "to", "", "`FILE` to write, - for stdout")
	cmd.Flags().StringVar(&endpoint, "endpoint", "", "`URL` of the server instead of the listen address")
	cmd.Flags().StringVar(&profile, "profile", "", "profile of ~/.aws/config to use")
	out.flag(cmd, formatTable, formatJSON)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if info, err := os.Stat(to); to == "" || err == nil && info.IsDir() {
			return usagef(cmd, "give the file to write: --to FILE")
		}
		if endpoint == "" {
			loaded, err := load()
			if err != nil {
				return err
			}
			endpoint = localURL(loaded.Config)
		}
		endpoint = strings.TrimSuffix(endpoint, "/")
		return a.takeBackup(cmd.Context(), out, Target{Endpoint: endpoint, Profile: profile}, to)
	}
	return cmd
}

// takeBackup saves what the server sends and reports it, on stderr if stdout has the backup.
func (a *App) takeBackup(ctx context.Context, out *output, from Target, to string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(backupStall, func() {
		cancel(fmt.Errorf("the server has sent nothing for %v", backupStall))
	})
	defer stall.Stop()
	doing := "take a backup of " + from.Endpoint
	client, err := trustingClient(a.getenv("AWS_CA_BUNDLE"))
	if err != nil {
		return err
	}
	body, size, err := a.askForBackup(ctx, client, from)
	if err != nil {
		return failed(doing, caused(ctx, err))
	}
	defer body.Close()
	moving := &moved{from: body, size: size, to: a.Err, each: func() { stall.Reset(backupStall) }}
	var summary backup.Summary
	report := a.Out
	if to == "-" {
		report = a.Err
		summary, err = backup.Read(ctx, io.TeeReader(moving, a.Out), func(backup.Entry, io.Reader) error { return nil })
	} else {
		summary, err = backup.SaveFile(ctx, to, moving)
	}
	switch {
	case errors.Is(err, backup.ErrNotWhole) && ctx.Err() == nil:
		return failed(doing, fmt.Errorf("%w; the server's log says why", err))
	case err != nil:
		return failed(doing, caused(ctx, err))
	}
	r := backupReport{File: to, Endpoint: from.Endpoint, Taken: summary.Taken, Objects: summary.Objects, Bytes: summary.Bytes}
	return out.result(report, r, "%s: a backup of %s, taken %s: %d objects, %s",
		r.File, r.Endpoint, r.Taken.Format(time.RFC3339), r.Objects, byteSize(r.Bytes))
}

// caused returns why the context ended, if that is what the error is about.
func caused(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// askForBackup returns what the server sends, and how many bytes its objects have, 0 if it does not
// say.
func (a *App) askForBackup(ctx context.Context, client *http.Client, from Target) (io.ReadCloser, int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, from.Endpoint+"/_headrace/backup", http.NoBody)
	if err != nil {
		return nil, 0, err
	}
	cfg, err := loadAWS(ctx, from)
	if err != nil {
		return nil, 0, err
	}
	keys, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, 0, err
	}
	nothing := sha256.Sum256(nil)
	if err := v4.NewSigner().SignHTTP(ctx, keys, req, hex.EncodeToString(nothing[:]), admin.SigningName, cfg.Region, a.Clock.Now()); err != nil {
		return nil, 0, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		said, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10)) // only to show it
		return nil, 0, fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(said)))
	}
	size, _ := strconv.ParseInt(resp.Header.Get("Headrace-Backup-Bytes"), 10, 64) // only to show it
	return resp.Body, size, nil
}

// worthTelling is how many bytes take a person's time.
const worthTelling = 64 << 20

// moved tells a person how much has been read, every tenth of the size if that is known and large.
type moved struct {
	from io.Reader
	to   io.Writer
	size int64
	// each, if set, is called whenever there was something to read.
	each      func()
	n, tenths int64
}

// Read implements io.Reader.
func (m *moved) Read(p []byte) (int, error) {
	n, err := m.from.Read(p)
	m.n += int64(n)
	if m.each != nil && n > 0 {
		m.each()
	}
	if m.size > worthTelling && m.n*10/m.size > m.tenths && m.n < m.size {
		m.tenths = m.n * 10 / m.size
		fmt.Fprintf(m.to, "%s of %s\n", byteSize(m.n), byteSize(m.size))
	}
	return n, err
}

// byteSize prints a size for people.
func byteSize(n int64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}
