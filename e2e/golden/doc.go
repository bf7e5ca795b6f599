// Package golden keeps data directories as versions of the formats wrote them, and proves that the
// program of today opens each, serves everything in it byte for byte, goes on from there, and finds
// no damage in it. testdata has one archive a version, and beside it what the directory holds.
//
//	go test ./e2e/golden                          # open all of them
//	go test ./e2e/golden -run Golden -update v2   # write a new one first
//
// docs/format says when one is written, and that none is changed once a release has written it.
package golden
