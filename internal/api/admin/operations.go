package admin

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/headrace/headrace/internal/admin"
	"github.com/headrace/headrace/internal/auth/keyring"
)

// operation does one call. Its account is set, and the caller may do it.
type operation func(ctx context.Context, k *keyring.Keyring, in *admin.Call, c *call) (*admin.Result, error)

// operations returns all of them by name.
func operations() map[string]operation {
	return map[string]operation{
		admin.GetAccess: getAccess,
		admin.CreateAccount: quiet(func(ctx context.Context, k *keyring.Keyring, in *admin.Call) error {
			return k.CreateAccount(ctx, in.Account, in.AccountName)
		}),
		admin.UpdateAccount: quiet(func(ctx context.Context, k *keyring.Keyring, in *admin.Call) error {
			return k.RenameAccount(ctx, in.Account, in.AccountName)
		}),
		admin.CreateUser: quiet(createUser),
		admin.DeleteUser: quiet(func(ctx context.Context, k *keyring.Keyring, in *admin.Call) error {
			return k.DeleteUser(ctx, in.Account, in.UserName)
		}),
		admin.PutUserPolicy: quiet(func(ctx context.Context, k *keyring.Keyring, in *admin.Call) error {
			return k.PutUserPolicy(ctx, in.Account, in.UserName, in.PolicyName, in.PolicyDocument)
		}),
		admin.DeleteUserPolicy: quiet(func(ctx context.Context, k *keyring.Keyring, in *admin.Call) error {
			return k.DeleteUserPolicy(ctx, in.Account, in.UserName, in.PolicyName)
		}),
		admin.ReplaceUserPolicies: quiet(func(ctx context.Context, k *keyring.Keyring, in *admin.Call) error {
			return k.ReplaceUserPolicies(ctx, in.Account, in.UserName, in.Policies)
		}),
		admin.CreateAccessKey: createAccessKey,
		admin.RotateAccessKey: rotateAccessKey,
		admin.UpdateAccessKey: quiet(updateAccessKey),
		admin.DeleteAccessKey: quiet(deleteAccessKey),
		admin.CreateRole:      quiet(createRole),
		admin.UpdateRole: quiet(func(ctx context.Context, k *keyring.Keyring, in *admin.Call) error {
			return k.UpdateRole(ctx, in.Account, in.RoleName, specOf(in))
		}),
		admin.DeleteRole: quiet(func(ctx context.Context, k *keyring.Keyring, in *admin.Call) error {
			return k.DeleteRole(ctx, in.Account, in.RoleName)
		}),
		admin.PutRolePolicy: quiet(func(ctx context.Context, k *keyring.Keyring, in *admin.Call) error {
			return k.PutRolePolicy(ctx, in.Account, in.RoleName, in.PolicyName, in.PolicyDocument)
		}),
		admin.DeleteRolePolicy: quiet(func(ctx context.Context, k *keyring.Keyring, in *admin.Call) error {
			return k.DeleteRolePolicy(ctx, in.Account, in.RoleName, in.PolicyName)
		}),
		admin.ReplaceRolePolicies: quiet(func(ctx context.Context, k *keyring.Keyring, in *admin.Call) error {
			return k.ReplaceRolePolicies(ctx, in.Account, in.RoleName, in.Policies)
		}),
		admin.EndSessions: quiet(endSessions),
		admin.PutProvider: quiet(putProvider),
		admin.DeleteProvider: quiet(func(ctx context.Context, k *keyring.Keyring, in *admin.Call) error {
			return k.DeleteProvider(ctx, in.Account, in.URL)
		}),
	}
}

// OperationNames returns the names of all operations, sorted.
func OperationNames() []string { return slices.Sorted(maps.Keys(operations())) }

// quiet is an operation that answers nothing but that it was done.
func quiet(do func(ctx context.Context, k *keyring.Keyring, in *admin.Call) error) operation {
	return func(ctx context.Context, k *keyring.Keyring, in *admin.Call, _ *call) (*admin.Result, error) {
		if err := do(ctx, k, in); err != nil {
			return nil, err
		}
		return &admin.Result{}, nil
	}
}

func createUser(ctx context.Context, k *keyring.Keyring, in *admin.Call) error {
	_, err := k.CreateUser(ctx, in.Account, in.UserName)
	return err
}

func createRole(ctx context.Context, k *keyring.Keyring, in *admin.Call) error {
	_, err := k.CreateRole(ctx, in.Account, in.RoleName, specOf(in))
	return err
}

func specOf(in *admin.Call) keyring.RoleSpec {
	return keyring.RoleSpec{Trust: in.TrustPolicy, Description: in.Description, MaxSession: time.Duration(in.MaxSessionDuration) * time.Second}
}

func whose(in *admin.Call) keyring.Whose {
	return keyring.Whose{Account: in.Account, User: in.UserName}
}

func createAccessKey(ctx context.Context, k *keyring.Keyring, in *admin.Call, _ *call) (*admin.Result, error) {
	made, err := k.CreateAccessKey(ctx, whose(in))
	if err != nil {
		return nil, err
	}
	return &admin.Result{AccessKey: newKey(in, made)}, nil
}

func rotateAccessKey(ctx context.Context, k *keyring.Keyring, in *admin.Call, _ *call) (*admin.Result, error) {
	made, replaced, err := k.RotateAccessKey(ctx, whose(in))
	if err != nil {
		return nil, err
	}
	return &admin.Result{AccessKey: newKey(in, made), Replaced: replaced}, nil
}

func newKey(in *admin.Call, made *keyring.NewKey) *admin.NewAccessKey {
	return &admin.NewAccessKey{UserName: in.UserName, AccessKeyID: made.ID, SecretAccessKey: made.Secret.Reveal(), CreateDate: made.Created}
}

// owner returns whose an access key is, which must be of the call's account, and of its user if it names
// one. Of other accounts' keys nobody learns that they exist.
func owner(k *keyring.Keyring, in *admin.Call) (keyring.Whose, error) {
	w, err := k.Owner(in.AccessKeyID)
	if err != nil || w.Account != in.Account || in.UserName != "" && w.User != in.UserName {
		return w, refuse(http.StatusNotFound, "NoSuchEntity", "The Access Key with id "+in.AccessKeyID+" cannot be found.")
	}
	return w, nil
}

func updateAccessKey(ctx context.Context, k *keyring.Keyring, in *admin.Call) error {
	if in.Status != admin.Active && in.Status != admin.Inactive {
		return refuse(http.StatusBadRequest, "ValidationError", "1 validation error detected: Value at 'status' failed to satisfy constraint: Member must satisfy enum value set: [Active, Inactive]")
	}
	w, err := owner(k, in)
	if err != nil {
		return err
	}
	return k.SetAccessKeyActive(ctx, w, in.AccessKeyID, in.Status == admin.Active)
}

func deleteAccessKey(ctx context.Context, k *keyring.Keyring, in *admin.Call) error {
	w, err := owner(k, in)
	if err != nil {
		return err
	}
	return k.DeleteAccessKey(ctx, w, in.AccessKeyID)
}

func endSessions(ctx context.Context, k *keyring.Keyring, in *admin.Call) error {
	switch {
	case in.UserName != "" && in.RoleName != "":
		return refuse(http.StatusBadRequest, "ValidationError", "UserName and RoleName exclude each other")
	case in.UserName != "":
		return k.EndUserSessions(ctx, in.Account, in.UserName)
	case in.RoleName != "":
		return k.EndRoleSessions(ctx, in.Account, in.RoleName)
	}
	return k.EndRootSessions(ctx, in.Account)
}

func putProvider(ctx context.Context, k *keyring.Keyring, in *admin.Call) error {
	return k.PutProvider(ctx, keyring.Provider{Account: in.Account, URL: in.URL, Audiences: in.Audiences, KeysURL: in.KeysURL, Keys: in.Keys})
}

// getAccess answers everything in the caller's account, or in all accounts if the operator asks for none
// in particular.
func getAccess(_ context.Context, k *keyring.Keyring, in *admin.Call, c *call) (*admin.Result, error) {
	accounts := k.Accounts()
	if !c.operator() || !c.everywhere {
		accounts = slices.DeleteFunc(accounts, func(a keyring.Account) bool { return a.ID != in.Account })
	}
	out := &admin.Result{}
	for i := range accounts {
		out.Accounts = append(out.Accounts, accountOf(k, &accounts[i]))
	}
	return out, nil
}

func accountOf(k *keyring.Keyring, a *keyring.Account) admin.Account {
	out := admin.Account{Account: a.ID, AccountName: a.Name, Operator: a.Operator, RootKeys: keysOf(a.Keys)}
	for _, u := range k.Users(a.ID) {
		out.Users = append(out.Users, admin.User{
			UserName: u.Name, UserID: u.ID, Arn: keyring.UserARN(u.Account, u.Name), CreateDate: u.Created,
			AccessKeys: keysOf(u.Keys), Policies: u.Policies,
		})
	}
	for _, r := range k.Roles(a.ID) {
		out.Roles = append(out.Roles, admin.Role{
			RoleName: r.Name, RoleID: r.ID, Arn: r.ARN(), Description: r.Description, CreateDate: r.Created,
			MaxSessionDuration: int(r.MaxSession / time.Second), TrustPolicy: r.Trust, Policies: r.Policies,
		})
	}
	for _, p := range k.Providers(a.ID) {
		out.Providers = append(out.Providers, admin.Provider{
			URL: p.URL, Arn: p.ARN(), CreateDate: p.Created, Audiences: p.Audiences, KeysURL: p.KeysURL, Keys: p.Keys,
		})
	}
	return out
}

func keysOf(keys []keyring.AccessKey) []admin.AccessKey {
	var out []admin.AccessKey
	for _, k := range keys {
		key := admin.AccessKey{AccessKeyID: k.ID, Status: admin.Inactive, CreateDate: k.Created}
		if k.Active {
			key.Status = admin.Active
		}
		if !k.LastUsed.IsZero() {
			key.LastUsedDate = &k.LastUsed
		}
		out = append(out, key)
	}
	return out
}
