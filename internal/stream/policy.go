package stream

import (
	"context"
	"strings"
)

// maxPolicy is how many bytes a resource policy may have, as on AWS.
const maxPolicy = 20 << 10

// PutPolicy attaches a resource policy to a stream, in place of the one it has. What the document says
// is for others to judge.
func (s *Streams) PutPolicy(ctx context.Context, sc Scope, arn, document string) error {
	e, _, err := s.findGoverned(sc, arn)
	if err != nil {
		return err
	}
	if len(document) > maxPolicy {
		return refuse(LimitExceeded, "Resource policy of stream %s under account %s exceeds the limit of %d bytes.", e.name, sc.Account, maxPolicy)
	}
	return s.update(ctx, e, func(v *view, row *streamRow) error {
		if err := v.idle(sc); err != nil {
			return err
		}
		if row.Policy == document {
			return errUnchanged
		}
		row.Policy = strings.Clone(document) // the row outlives the request, which it may be part of
		return nil
	})
}

// Policy returns the resource policy of a stream, "" if it has none.
func (s *Streams) Policy(sc Scope, arn string) (string, error) {
	_, v, err := s.findGoverned(sc, arn)
	if err != nil {
		return "", err
	}
	return v.row.Policy, nil
}

// DeletePolicy takes a stream's resource policy away; NotFound if it has none.
func (s *Streams) DeletePolicy(ctx context.Context, sc Scope, arn string) error {
	e, _, err := s.findGoverned(sc, arn)
	if err != nil {
		return err
	}
	return s.update(ctx, e, func(v *view, row *streamRow) error {
		if err := v.idle(sc); err != nil {
			return err
		}
		if row.Policy == "" {
			return refuse(NotFound, "Resource policy of %s not found.", arn)
		}
		row.Policy = ""
		return nil
	})
}

// findGoverned returns the stream that a resource policy is about.
func (s *Streams) findGoverned(sc Scope, arn string) (*entry, *view, error) {
	if strings.Contains(arn, "/consumer/") { // there are no consumers to register
		return nil, nil, refuse(NotFound, "Consumer %s not found.", arn)
	}
	return s.find(sc, Ref{ARN: arn})
}

// ARN returns the ARN of the stream that a request names, whether or not it exists; "" if it names none.
// An ARN is returned as it is written when it is written properly: ParseARN forgives more, and policies
// must see the stream that it finds.
func (s *Streams) ARN(sc Scope, ref Ref) string {
	name := ref.Name
	if ref.ARN != "" {
		var ok bool
		if sc, name, ok = ParseARN(ref.ARN); !ok {
			return ref.ARN
		}
	}
	if name == "" {
		return ""
	}
	return sc.arn(name)
}

// PolicyOf returns the resource policy of the stream with an ARN, in whatever scope; "" if there is none.
func (s *Streams) PolicyOf(arn string) string {
	sc, _, ok := ParseARN(arn)
	if !ok {
		return ""
	}
	document, err := s.Policy(sc, arn)
	if err != nil {
		return ""
	}
	return document
}

// Tags returns the tags of the stream with an ARN, in whatever scope; nil if there is none. They must not
// be changed.
func (s *Streams) Tags(arn string) map[string]string {
	sc, _, ok := ParseARN(arn)
	if !ok {
		return nil
	}
	_, v, err := s.find(sc, Ref{ARN: arn})
	if err != nil {
		return nil
	}
	return v.row.Tags
}
