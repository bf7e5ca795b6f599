// Package compat runs Headrace's main job with real, unmodified AWS clients against the shipped
// binary: put a web server's log, reshard the stream meanwhile, read every record back byte for
// byte and in order. One folder a client; this package starts them. It tests no internals.
package compat
