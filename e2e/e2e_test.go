package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/headrace/headrace/internal/binarytest"
	"github.com/headrace/headrace/internal/certificate/acmetest"
)

// binary is the path of the shipped program, built once for all scripts.
var binary string

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "headrace-e2e")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	acmetest.Setenv()
	if binary, err = binarytest.Build(dir); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		Setup:               setup,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"server":        server,
			"signin":        signin,
			"halt":          halt,
			"signal":        signal,
			"exits":         exits,
			"terminate":     terminate,
			"sigkill":       sigkill,
			"refused":       refused,
			"fails":         fails,
			"eventually":    eventually,
			"samplelog":     sampleLog,
			"pour":          pour,
			"keyorder":      keyOrder,
			"footprint":     footprint,
			"http":          plainRequest,
			"call":          call,
			"repeat":        repeat,
			"record":        recordFile,
			"iterator":      iterator,
			"hold":          hold,
			"finish":        finish,
			"stall":         stall,
			"hoard":         hoard,
			"cut":           cut,
			"crowd":         crowd,
			"tired":         tired,
			"tls":           tlsRequest,
			"acme":          acmeAuthority,
			"eventuallytls": eventuallyTLS,
			"kms":           keyService,
		},
	})
}

// setup gives a script the program as `headrace`, a home of its own and an environment in which no
// setting of the machine shows through.
func setup(env *testscript.Env) error {
	w := &world{tb: env.T().(testing.TB), held: map[string]*rawConn{}}
	env.Values[worldKey{}] = w
	env.Setenv("PATH", filepath.Dir(binary)+string(os.PathListSeparator)+env.Getenv("PATH"))
	env.Setenv("HOME", env.WorkDir)
	env.Setenv("AWS_CONFIG_FILE", filepath.Join(env.WorkDir, "aws-config"))
	env.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(env.WorkDir, "aws-credentials"))
	env.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	env.Defer(w.close)
	return nil
}
