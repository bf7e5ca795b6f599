// Package crash ends the shipped program as badly as can be arranged and looks at what is left: it
// is killed while clients write, the power of its disk is cut, files are damaged, the disk is full.
// What the program acknowledged is kept here, outside it, and every restart is held against that. It
// tests no internals; the engines' own packages run far more histories against models of a disk.
//
//	go test ./e2e/crash                        # some seconds of each
//	CRASH_FOR=5m go test ./e2e/crash           # minutes of each
//	CRASH_SEED=7 go test ./e2e/crash -run Kill # the choices of a run that failed
//
// A seed repeats what the clients ask for and when the program is ended; how the machine interleaves
// them it does not repeat.
package crash
