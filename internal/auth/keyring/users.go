package keyring

import (
	"context"
	"maps"
	"slices"
	"time"
)

// User is a user as it is listed.
type User struct {
	Account, Name string
	// ID is the user's unique id: a user that is deleted and made again has another one.
	ID           string
	Created      time.Time
	SessionsFrom time.Time
	Keys         []AccessKey
	// Policies are the inline policies by name.
	Policies map[string]string
}

// CreateUser makes a user without access keys and policies.
func (k *Keyring) CreateUser(ctx context.Context, account, name string) (*User, error) {
	if err := k.accountExists(account); err != nil {
		return nil, err
	}
	if err := checkName("userName", name, maxName); err != nil {
		return nil, err
	}
	release, err := k.reserve(account, func(c *count) *int { return &c.users }, "UsersPerAccount", k.cfg.Limits.Users)
	if err != nil {
		return nil, err
	}
	defer release()
	row := &userRow{principalRow: k.newRow(account, name), ID: newPrincipalID(userIDPrefix)}
	if err := k.create(ctx, userKey(account, name), row, already("User", name)); err != nil {
		return nil, err
	}
	u := k.userOf(row)
	return &u, nil
}

// DeleteUser deletes a user. Conflict if it still has access keys or policies.
func (k *Keyring) DeleteUser(ctx context.Context, account, name string) error {
	return remove(ctx, k, userKey(account, name), noSuch("user", name), func(r *userRow) error {
		switch {
		case len(r.Policies) > 0:
			return refuse(Conflict, "Cannot delete entity, must delete policies first.")
		case len(r.Keys) > 0:
			return refuse(Conflict, "Cannot delete entity, must delete access keys first.")
		}
		return nil
	})
}

// PutUserPolicy adds an inline policy to a user, or replaces the one of that name.
func (k *Keyring) PutUserPolicy(ctx context.Context, account, user, name, document string) error {
	if err := k.checkInline(name, document); err != nil {
		return err
	}
	return change(ctx, k, userKey(account, user), noSuch("user", user), func(r *userRow) error {
		r.Policies = cloned(r.Policies)
		r.Policies[name] = document
		return checkSizes("user", r.Name, r.Policies, maxUserPolicy)
	})
}

// ReplaceUserPolicies gives a user these inline policies and no others, in one change.
func (k *Keyring) ReplaceUserPolicies(ctx context.Context, account, user string, policies map[string]string) error {
	if err := k.checkAllInline(policies); err != nil {
		return err
	}
	return change(ctx, k, userKey(account, user), noSuch("user", user), func(r *userRow) error {
		r.Policies = policies
		return checkSizes("user", r.Name, r.Policies, maxUserPolicy)
	})
}

// DeleteUserPolicy takes an inline policy from a user.
func (k *Keyring) DeleteUserPolicy(ctx context.Context, account, user, name string) error {
	return change(ctx, k, userKey(account, user), noSuch("user", user), func(r *userRow) error {
		return without(r.Policies, "user", name)
	})
}

// checkInline refuses an inline policy that cannot be.
func (k *Keyring) checkInline(name, document string) error {
	if err := checkName("policyName", name, maxPolicyName); err != nil {
		return err
	}
	return k.CheckPolicy(IdentityPolicy, document)
}

// checkAllInline refuses a set of which one policy cannot be.
func (k *Keyring) checkAllInline(policies map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(policies)) {
		if err := k.checkInline(name, policies[name]); err != nil {
			return err
		}
	}
	return nil
}

// without deletes a policy from those of a user or role.
func without(policies map[string]string, what, name string) error {
	if _, ok := policies[name]; !ok {
		return refuse(NotFound, "The %s policy with name %s cannot be found.", what, name)
	}
	delete(policies, name)
	return nil
}

// EndUserSessions ends all sessions of a user that exist now.
func (k *Keyring) EndUserSessions(ctx context.Context, account, user string) error {
	return change(ctx, k, userKey(account, user), noSuch("user", user), func(r *userRow) error {
		r.SessionsFrom = millisOf(k.cfg.Clock.Now())
		return nil
	})
}

// User returns one user.
func (k *Keyring) User(account, name string) (*User, error) {
	r := row[userRow](&k.view, userKey(account, name))
	if r == nil {
		return nil, noSuch("user", name)
	}
	u := k.userOf(r)
	return &u, nil
}

// Users returns the users of an account in order of their names.
func (k *Keyring) Users(account string) []User {
	rows := all[userRow](&k.view, userPrefix+account+"/")
	users := make([]User, len(rows))
	for i, r := range rows {
		users[i] = k.userOf(r)
	}
	return users
}

func (k *Keyring) userOf(r *userRow) User {
	return User{
		Account: r.Account, Name: r.Name, ID: r.ID, Created: r.Created.time(), SessionsFrom: r.SessionsFrom.time(),
		Keys: k.accessKeys(r.Keys), Policies: cloned(r.Policies),
	}
}
