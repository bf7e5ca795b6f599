package policy

import (
	"fmt"
	"slices"
	"strings"
)

// grade says how closely a statement names a caller, which decides what else must allow the
// request within one account.
type grade uint8

const (
	// stranger is a caller who is not meant.
	stranger grade = iota
	// byAccount: the account is named. That leaves the decision to the account's own policies.
	byAccount
	// byEntity: the role or user behind the session is named. The session's limits still count.
	byEntity
	// directly: the very caller is named, or everyone.
	directly
)

// principals is a Principal or NotPrincipal element.
type principals struct {
	// everyone is "*". {"AWS": "*"} is everyone but services and identity providers, to whom AWS
	// gives elements of their own.
	everyone, everyAWS bool
	// accounts are account ids, arns those of users, roles and sessions, ids the unique ids that
	// AWS puts in the place of ARNs.
	accounts, arns, ids []string
	services, federated []string
	texts               []string // as the policy has them, for explanations
}

// add reads one value of the element of the given type: AWS, Service or Federated.
func (s *principals) add(kind, text string) error {
	ok := text != "" && !strings.ContainsAny(text, "*?")
	switch kind {
	case "AWS":
		ok = s.addAWS(text)
	case "Service":
		ok = ok && isServiceName(text)
		s.services = append(s.services, text)
	case "Federated":
		s.federated = append(s.federated, text)
	default:
		return refused("", fmt.Sprintf("The principal key %s is not valid.", kind))
	}
	if !ok {
		return refused(fmt.Sprintf(`Invalid principal in policy: "%s":"%s"`, kind, text), "")
	}
	s.texts = append(s.texts, text)
	return nil
}

// addAWS reads "*", an account, an ARN of IAM or STS, or a unique id.
func (s *principals) addAWS(text string) bool {
	switch {
	case text == "*":
		s.everyAWS = true
		return true
	case isAccount(text):
		s.accounts = append(s.accounts, text)
		return true
	case isUniqueID(text):
		s.ids = append(s.ids, text)
		return true
	}
	p, err := ParsePrincipal(text)
	switch {
	case err != nil || p.Type == WebIdentity || p.Type == Service:
		return false
	case p.Type == Root:
		s.accounts = append(s.accounts, p.Account)
	default:
		s.arns = append(s.arns, text)
	}
	return true
}

// isUniqueID reports whether s looks like the unique id of a user or role: AIDA... or AROA...
func isUniqueID(s string) bool {
	if len(s) < 16 || len(s) > 128 || !strings.HasPrefix(s, "AIDA") && !strings.HasPrefix(s, "AROA") {
		return false
	}
	for i := range len(s) {
		if (s[i] < 'A' || s[i] > 'Z') && (s[i] < '0' || s[i] > '9') {
			return false
		}
	}
	return true
}

// isServiceName reports whether s is named like a service: firehose.amazonaws.com.
func isServiceName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return false
		}
	}
	return strings.HasSuffix(s, ".amazonaws.com") || strings.HasSuffix(s, ".amazonaws.com.cn")
}

// id is the unique id of a user, or of the role behind a session.
func (p *Principal) id() string {
	id, _, _ := strings.Cut(p.ID, ":")
	return id
}

// names returns how closely a Principal element names p.
func (s *principals) names(p *Principal) grade {
	switch p.Type {
	case Anonymous:
		return gradeIf(s.everyone || s.everyAWS)
	case Service:
		return gradeIf(s.everyone || slices.Contains(s.services, p.ARN))
	case WebIdentity:
		return gradeIf(s.everyone || slices.Contains(s.federated, p.ARN))
	}
	account := slices.Contains(s.accounts, p.Account)
	switch {
	case s.everyone || s.everyAWS || slices.Contains(s.arns, p.ARN):
		return directly
	case p.Type == Root:
		return gradeIf(account)
	case p.Type == User && slices.Contains(s.ids, p.id()):
		return directly
	case p.Entity != "" && slices.Contains(s.arns, p.Entity), p.Type == RoleSession && slices.Contains(s.ids, p.id()):
		return byEntity
	case account:
		return byAccount
	}
	return stranger
}

func gradeIf(named bool) grade {
	if named {
		return directly
	}
	return stranger
}

// exempts reports whether a NotPrincipal element spares p. AWS checks the account, then the role or
// user, then the session against the element, and advises to name them all. So a Deny spares only a
// caller of whom all are named, and, as AWS documents, nobody who has a permissions boundary; an
// Allow does not reach a caller of whom any is named.
func (s *principals) exempts(p *Principal, deny, boundary bool) bool {
	switch {
	case !deny, p.Type == Anonymous, p.Type == Service, p.Type == WebIdentity:
		return s.names(p) != stranger
	case boundary:
		return false
	case s.everyone || s.everyAWS:
		return true
	case !slices.Contains(s.accounts, p.Account):
		return false
	case p.Type == Root:
		return true
	}
	self := slices.Contains(s.arns, p.ARN) || p.Type == User && slices.Contains(s.ids, p.id())
	entity := p.Entity == "" || slices.Contains(s.arns, p.Entity) || p.Type == RoleSession && slices.Contains(s.ids, p.id())
	return self && entity
}
