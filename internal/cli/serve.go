package cli

import (
	"context"
	"errors"
)

// serve runs the server.
func serve(context.Context, Service) error { return errors.New("this build has no server") }
