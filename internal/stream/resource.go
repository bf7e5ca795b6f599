package stream

import (
	"context"
	"maps"
	"slices"
	"strings"
)

// tagged is a resource that TagResource and its siblings name by ARN. Streams and
// consumers have tags; whatever else gets some is found by findTagged and needs nothing else here.
type tagged struct {
	// kind and name are how AWS's texts call it: stream mill.
	kind, name string
	// tags are those it has. They must not be changed.
	tags map[string]string
	// update replaces the tags by what change makes of a copy of them, in one compare-and-set; change
	// may be called several times. An error of change ends it, errUnchanged as a success.
	update func(ctx context.Context, change func(tags map[string]string) (map[string]string, error)) error
}

// findTagged returns the resource that an ARN names.
func (s *Streams) findTagged(sc Scope, arn string) (tagged, error) {
	switch resourceKind(arn) {
	case "consumer":
		e, _, c, err := s.findConsumer(sc, ConsumerRef{ARN: arn})
		if err != nil {
			return tagged{}, err
		}
		return tagged{kind: "consumer", name: c.Name, tags: c.Tags, update: func(ctx context.Context, change func(map[string]string) (map[string]string, error)) error {
			return s.changeConsumer(ctx, e, c, func(c *consumer) (_ *consumer, err error) {
				next := *c
				next.Tags, err = change(maps.Clone(c.Tags))
				return &next, err
			})
		}}, nil
	case "channel":
		return tagged{}, channelNotFound(arn)
	}
	if _, _, ok := ParseARN(arn); !ok {
		return tagged{}, refuse(InvalidArgument, "ResourceARN %s is invalid.", arn)
	}
	e, v, err := s.find(sc, Ref{ARN: arn})
	if err != nil {
		return tagged{}, err
	}
	return tagged{kind: "stream", name: e.name, tags: v.row.Tags, update: func(ctx context.Context, change func(map[string]string) (map[string]string, error)) error {
		return s.update(ctx, e, func(_ *view, row *streamRow) (err error) {
			row.Tags, err = change(row.Tags)
			return err
		})
	}}, nil
}

// resourceKind returns what an ARN of Data Streams names, stream, consumer or channel, and something else
// for what it does not name.
func resourceKind(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	kind, name, _ := strings.Cut(parts[len(parts)-1], "/")
	if kind == "stream" && strings.Contains(name, "/consumer/") {
		return "consumer"
	}
	return kind
}

// TagResource sets tags on the resource with an ARN, in whatever state it is.
func (s *Streams) TagResource(ctx context.Context, sc Scope, arn string, tags map[string]string) error {
	r, err := s.findTagged(sc, arn)
	if err != nil {
		return err
	}
	if err := checkTags(sc, r.kind, r.name, "add tags to", tags); err != nil {
		return err
	}
	return r.update(ctx, func(has map[string]string) (map[string]string, error) {
		has = copyTags(has, tags)
		if len(has) > maxTags {
			return nil, tooManyTags(sc, r.kind, r.name)
		}
		return has, nil
	})
}

// UntagResource removes tags from the resource with an ARN; keys it does not have are no error.
func (s *Streams) UntagResource(ctx context.Context, sc Scope, arn string, keys []string) error {
	r, err := s.findTagged(sc, arn)
	if err != nil {
		return err
	}
	if err := checkTagTexts(sc, r.kind, r.name, "remove tags from", slices.Values(keys)); err != nil {
		return err
	}
	return r.update(ctx, func(has map[string]string) (map[string]string, error) {
		before := len(has)
		for _, k := range keys {
			delete(has, k)
		}
		if len(has) == before {
			return nil, errUnchanged
		}
		return has, nil
	})
}

// ResourceTags returns the tags of the resource with an ARN in the order of their keys.
func (s *Streams) ResourceTags(sc Scope, arn string) ([]Tag, error) {
	r, err := s.findTagged(sc, arn)
	if err != nil {
		return nil, err
	}
	tags := make([]Tag, 0, len(r.tags))
	for _, k := range slices.Sorted(maps.Keys(r.tags)) {
		tags = append(tags, Tag{k, r.tags[k]})
	}
	return tags, nil
}
