package stream

import (
	"context"
	"maps"
	"slices"
	"strings"
)

// maxTags is how many tags a stream may have, and how many ListTags returns at most.
const maxTags = 50

// Tag is a key and value of a stream.
type Tag struct{ Key, Value string }

// TagPage is a page of tags in the order of their keys.
type TagPage struct {
	Tags        []Tag
	HasMoreTags bool
}

// AddTags sets tags on a stream, in whatever state it is.
func (s *Streams) AddTags(ctx context.Context, sc Scope, ref Ref, tags map[string]string) error {
	e, _, err := s.find(sc, ref)
	if err != nil {
		return err
	}
	return s.TagResource(ctx, sc, sc.arn(e.name), tags)
}

// copyTags sets tags in to, which it makes if need be, and returns it. The texts are copies: they
// stay when the request that brought them has gone.
func copyTags(to, tags map[string]string) map[string]string {
	if to == nil && len(tags) > 0 {
		to = make(map[string]string, len(tags))
	}
	for k, v := range tags {
		to[strings.Clone(k)] = strings.Clone(v)
	}
	return to
}

// RemoveTags removes tags from a stream; keys it does not have are no error.
func (s *Streams) RemoveTags(ctx context.Context, sc Scope, ref Ref, keys []string) error {
	e, _, err := s.find(sc, ref)
	if err != nil {
		return err
	}
	return s.UntagResource(ctx, sc, sc.arn(e.name), keys)
}

// ListTags returns a stream's tags whose keys lie after a key, at most limit of them; 0 means 50,
// which is also the most.
func (s *Streams) ListTags(sc Scope, ref Ref, after string, limit int) (TagPage, error) {
	_, v, err := s.find(sc, ref)
	if err != nil {
		return TagPage{}, err
	}
	if limit <= 0 || limit > maxTags {
		limit = maxTags
	}
	var page TagPage
	for _, k := range slices.Sorted(maps.Keys(v.row.Tags)) {
		if k <= after {
			continue
		}
		if len(page.Tags) == limit {
			page.HasMoreTags = true
			break
		}
		page.Tags = append(page.Tags, Tag{k, v.row.Tags[k]})
	}
	return page, nil
}

func tooManyTags(sc Scope, kind, name string) error {
	return refuse(InvalidArgument, "Failed to add tags to %s %s under account %s because a given %s "+
		"cannot have more than %d tags associated with it.", kind, name, sc.Account, kind, maxTags)
}

// checkTags returns AWS's objection to tags; doing is what the call does with them, kind and name what to.
func checkTags(sc Scope, kind, name, doing string, tags map[string]string) error {
	for k := range tags {
		if len(k) >= 4 && strings.EqualFold(k[:4], "aws:") {
			return refuse(InvalidArgument, "Failed to %s %s %s under account %s because "+
				"aws: prefixed tag key names are not allowed for external use.", doing, kind, name, sc.Account)
		}
	}
	if err := checkTagTexts(sc, kind, name, doing, maps.Keys(tags)); err != nil {
		return err
	}
	return checkTagTexts(sc, kind, name, doing, maps.Values(tags))
}

// checkTagTexts returns AWS's objection to characters in tag keys or values. It has two lists of
// them: the percent sign is on one and not on the other.
func checkTagTexts(sc Scope, kind, name, doing string, texts func(yield func(string) bool)) error {
	percent := false
	for t := range texts {
		for _, c := range t {
			if !tagRune(c) {
				return refuse(InvalidArgument, "Some tags contain invalid characters. Valid characters: "+
					"Unicode letters, digits, white space, _ . / = + - %% @.")
			}
			percent = percent || c == '%'
		}
	}
	if percent {
		return refuse(InvalidArgument, "Failed to %s %s %s under account %s because some tags contained illegal characters. "+
			"The allowed characters are Unicode letters, white-spaces, '_',',','/','=','+','-','@'.", doing, kind, name, sc.Account)
	}
	return nil
}

// tagRune reports whether AWS lets a character into a tag. It takes letters by range, not by class;
// the colon, which it once refused, is in wide use today.
func tagRune(c rune) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	case '\u00c0' <= c && c <= '\u1fff', '\u2c00' <= c && c <= '\ud7ff':
		return true
	}
	return strings.ContainsRune("_./-=+ @%:", c)
}
