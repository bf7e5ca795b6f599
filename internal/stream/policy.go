package stream

import (
	"context"
	"strings"
)

// maxPolicy is how many bytes a resource policy may have, as on AWS.
const maxPolicy = 20 << 10

// governed is what a resource policy is about: a stream, or a consumer of it.
type governed struct {
	entry    *entry
	view     *view
	consumer *consumer
}

// PutPolicy attaches a resource policy to a stream or a consumer, in place of the one it has. What the
// document says is for others to judge.
func (s *Streams) PutPolicy(ctx context.Context, sc Scope, arn, document string) error {
	g, err := s.findGoverned(sc, arn)
	if err != nil {
		return err
	}
	if len(document) > maxPolicy {
		return refuse(LimitExceeded, "Resource policy of stream %s under account %s exceeds the limit of %d bytes.", g.entry.name, sc.Account, maxPolicy)
	}
	return s.setPolicy(ctx, sc, g, func(old string) (string, error) {
		return strings.Clone(document), nil // the row outlives the request, which it may be part of
	})
}

// Policy returns the resource policy of a stream or a consumer, "" if it has none.
func (s *Streams) Policy(sc Scope, arn string) (string, error) {
	g, err := s.findGoverned(sc, arn)
	switch {
	case err != nil:
		return "", err
	case g.consumer != nil:
		return g.consumer.Policy, nil
	}
	return g.view.row.Policy, nil
}

// DeletePolicy takes the resource policy of a stream or a consumer away; NotFound if it has none.
func (s *Streams) DeletePolicy(ctx context.Context, sc Scope, arn string) error {
	g, err := s.findGoverned(sc, arn)
	if err != nil {
		return err
	}
	return s.setPolicy(ctx, sc, g, func(old string) (string, error) {
		if old == "" {
			return "", refuse(NotFound, "Resource policy of %s not found.", arn)
		}
		return "", nil
	})
}

// setPolicy puts what change returns in the place of the policy that it is given.
func (s *Streams) setPolicy(ctx context.Context, sc Scope, g governed, change func(old string) (string, error)) error {
	if g.consumer != nil {
		return s.changeConsumer(ctx, g.entry, g.consumer, func(c *consumer) (*consumer, error) {
			if c.Status(s.now()) != Active {
				return nil, consumerNotActive(sc, g.entry.name, c)
			}
			next := *c
			var err error
			if next.Policy, err = change(c.Policy); err == nil && next.Policy == c.Policy {
				err = errUnchanged
			}
			return &next, err
		})
	}
	return s.update(ctx, g.entry, func(v *view, row *streamRow) error {
		if err := v.idle(sc); err != nil {
			return err
		}
		policy, err := change(row.Policy)
		if err == nil && policy == row.Policy {
			err = errUnchanged
		}
		row.Policy = policy
		return err
	})
}

// findGoverned returns what the resource policy of an ARN is about.
func (s *Streams) findGoverned(sc Scope, arn string) (g governed, err error) {
	if strings.Contains(arn, consumerInfix) {
		g.entry, g.view, g.consumer, err = s.findConsumer(sc, ConsumerRef{ARN: arn})
		return g, err
	}
	g.entry, g.view, err = s.find(sc, Ref{ARN: arn})
	return g, err
}

// ARN returns the ARN of the stream, or with Ref.ARN of the consumer, that a request names, whether or not
// it exists; "" if it names none.
// An ARN is returned as it is written when it is written properly: ParseARN forgives more, and policies
// must see the stream that it finds.
func (s *Streams) ARN(sc Scope, ref Ref) string {
	name := ref.Name
	if p, ok := parseConsumerARN(ref.ARN); ok {
		return p.scope.arn(p.stream) + consumerInfix + p.name + ":" + p.created
	}
	if ref.ARN != "" {
		var ok bool
		if sc, name, ok = ParseARN(ref.ARN); !ok {
			return ref.ARN
		}
	}
	if name == "" {
		return ""
	}
	if e, _ := s.lookup(sc, name); e != nil {
		return e.arn
	}
	return sc.arn(name)
}

// Governed returns what decisions about the stream or consumer with an ARN, in whatever scope, stand on:
// the resource policy that it has, "" for none, and its tags, which must not be changed. Every request of
// a verified caller asks.
func (s *Streams) Governed(arn string) (policy string, tags map[string]string) {
	if sc, name, ok := ParseARN(arn); ok {
		if _, v := s.lookup(sc, name); v != nil {
			return v.row.Policy, v.row.Tags
		}
		return "", nil
	}
	if g, err := s.findGoverned(scopeOf(arn), arn); err == nil && g.consumer != nil {
		return g.consumer.Policy, g.consumer.Tags
	}
	return "", nil
}

// scopeOf returns the scope of a stream's or a consumer's ARN; it is empty for what is neither.
func scopeOf(arn string) Scope {
	if p, ok := parseConsumerARN(arn); ok {
		return p.scope
	}
	sc, _, _ := ParseARN(arn)
	return sc
}
