package keyring

import (
	"context"
	"time"
)

// Role is a role: what it may do, and in its trust policy who may become it.
type Role struct {
	Account, Name string
	// ID is the role's unique id: a role that is deleted and made again has another one, and sessions of
	// the old one are none of the new.
	ID, Description string
	Created         time.Time
	SessionsFrom    time.Time
	// Trust is the trust policy.
	Trust string
	// MaxSession is the longest that a session may be asked for.
	MaxSession time.Duration
	// Policies are the inline policies by name.
	Policies map[string]string
}

// ARN returns the role's ARN.
func (r *Role) ARN() string { return RoleARN(r.Account, r.Name) }

// RoleSpec is what a role is made with, or changed to.
type RoleSpec struct {
	Trust, Description string
	// MaxSession is between one and twelve hours; 0 means one.
	MaxSession time.Duration
}

const (
	leastMaxSession = time.Hour
	mostMaxSession  = 12 * time.Hour
)

// check completes a role's specification, or says what is wrong with it.
func (k *Keyring) checkRole(s *RoleSpec) error {
	if s.MaxSession == 0 {
		s.MaxSession = leastMaxSession
	}
	seconds := int(s.MaxSession / time.Second)
	if s.MaxSession < leastMaxSession {
		return refuse(Invalid, "1 validation error detected: Value '%d' at 'maxSessionDuration' failed to satisfy constraint: Member must have value greater than or equal to %d", seconds, int(leastMaxSession/time.Second))
	}
	if s.MaxSession > mostMaxSession {
		return refuse(Invalid, "1 validation error detected: Value '%d' at 'maxSessionDuration' failed to satisfy constraint: Member must have value less than or equal to %d", seconds, int(mostMaxSession/time.Second))
	}
	if err := checkText("description", s.Description, maxDescription); err != nil {
		return err
	}
	if size(s.Trust) > maxTrust || len(s.Trust) > slack*maxTrust {
		return overQuota("ACLSizePerRole", maxTrust)
	}
	return k.CheckPolicy(TrustPolicy, s.Trust)
}

// CreateRole makes a role without policies.
func (k *Keyring) CreateRole(ctx context.Context, account, name string, s RoleSpec) (*Role, error) {
	if err := k.accountExists(account); err != nil {
		return nil, err
	}
	if err := checkName("roleName", name, maxName); err != nil {
		return nil, err
	}
	if err := k.checkRole(&s); err != nil {
		return nil, err
	}
	release, err := k.reserve(account, func(c *count) *int { return &c.roles }, "RolesPerAccount", k.cfg.Limits.Roles)
	if err != nil {
		return nil, err
	}
	defer release()
	row := &roleRow{
		principalRow: k.newRow(account, name), ID: newPrincipalID(roleIDPrefix), Description: s.Description,
		Trust: s.Trust, MaxSeconds: int(s.MaxSession / time.Second),
	}
	if err := k.create(ctx, roleKey(account, name), row, already("Role", name)); err != nil {
		return nil, err
	}
	r := roleOf(row)
	return &r, nil
}

// UpdateRole changes a role's trust policy, description and longest session.
func (k *Keyring) UpdateRole(ctx context.Context, account, name string, s RoleSpec) error {
	if err := k.checkRole(&s); err != nil {
		return err
	}
	return change(ctx, k, roleKey(account, name), noSuch("role", name), func(r *roleRow) error {
		r.Trust, r.Description, r.MaxSeconds = s.Trust, s.Description, int(s.MaxSession/time.Second)
		return nil
	})
}

// DeleteRole deletes a role, and with it all its sessions. Conflict if it still has policies.
func (k *Keyring) DeleteRole(ctx context.Context, account, name string) error {
	return remove(ctx, k, roleKey(account, name), noSuch("role", name), func(r *roleRow) error {
		if len(r.Policies) > 0 {
			return refuse(Conflict, "Cannot delete entity, must delete policies first.")
		}
		return nil
	})
}

// PutRolePolicy adds an inline policy to a role, or replaces the one of that name.
func (k *Keyring) PutRolePolicy(ctx context.Context, account, role, name, document string) error {
	if err := k.checkInline(name, document); err != nil {
		return err
	}
	return change(ctx, k, roleKey(account, role), noSuch("role", role), func(r *roleRow) error {
		r.Policies = cloned(r.Policies)
		r.Policies[name] = document
		return checkSizes("role", r.Name, r.Policies, maxRolePolicy)
	})
}

// ReplaceRolePolicies gives a role these inline policies and no others, in one change.
func (k *Keyring) ReplaceRolePolicies(ctx context.Context, account, role string, policies map[string]string) error {
	if err := k.checkAllInline(policies); err != nil {
		return err
	}
	return change(ctx, k, roleKey(account, role), noSuch("role", role), func(r *roleRow) error {
		r.Policies = policies
		return checkSizes("role", r.Name, r.Policies, maxRolePolicy)
	})
}

// DeleteRolePolicy takes an inline policy from a role.
func (k *Keyring) DeleteRolePolicy(ctx context.Context, account, role, name string) error {
	return change(ctx, k, roleKey(account, role), noSuch("role", role), func(r *roleRow) error {
		return without(r.Policies, "role", name)
	})
}

// EndRoleSessions ends all sessions of a role that exist now.
func (k *Keyring) EndRoleSessions(ctx context.Context, account, role string) error {
	return change(ctx, k, roleKey(account, role), noSuch("role", role), func(r *roleRow) error {
		r.SessionsFrom = millisOf(k.cfg.Clock.Now())
		return nil
	})
}

// Role returns one role.
func (k *Keyring) Role(account, name string) (*Role, error) {
	r := row[roleRow](&k.view, roleKey(account, name))
	if r == nil {
		return nil, noSuch("role", name)
	}
	role := roleOf(r)
	return &role, nil
}

// Roles returns the roles of an account in order of their names.
func (k *Keyring) Roles(account string) []Role {
	rows := all[roleRow](&k.view, rolePrefix+account+"/")
	roles := make([]Role, len(rows))
	for i, r := range rows {
		roles[i] = roleOf(r)
	}
	return roles
}

func roleOf(r *roleRow) Role {
	return Role{
		Account: r.Account, Name: r.Name, ID: r.ID, Description: r.Description, Created: r.Created.time(),
		SessionsFrom: r.SessionsFrom.time(), Trust: r.Trust, MaxSession: time.Duration(r.MaxSeconds) * time.Second,
		Policies: cloned(r.Policies),
	}
}
