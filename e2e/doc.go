// Package e2e drives the shipped binary from outside, as a user would: the scripts in testdata run
// its commands, send it raw requests and signals, and look at what it prints. Each script has one
// subject and says in its first lines what it proves; its commands are explained in commands_test.go
// and raw_test.go. Package compat does the same with other people's clients. It tests no internals.
//
//	go test ./e2e                           # all scripts
//	go test ./e2e -run 'Scripts/main_job' -v  # one of them, with its transcript
package e2e
