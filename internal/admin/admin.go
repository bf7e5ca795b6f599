// Package admin is how who may call is administered: the calls below /_headrace/access/, their JSON, and
// the file that declares accounts, users, roles and identity providers, compared with what there is.
//
// It is the language that a server (api/admin) and a client (cli) share. It keeps nothing, sends nothing
// and decides nothing: principals are the keyring's.
package admin

import "time"

// Path is below what a server takes these calls: Path and an operation's name, with POST.
const Path = "/_headrace/access/"

// SigningName is the service in the credential scope of these calls' signatures.
const SigningName = "headrace"

// The operations, named as AWS's IAM names them where it has them.
const (
	GetAccess        = "GetAccess"
	CreateAccount    = "CreateAccount"
	UpdateAccount    = "UpdateAccount"
	CreateUser       = "CreateUser"
	DeleteUser       = "DeleteUser"
	PutUserPolicy    = "PutUserPolicy"
	DeleteUserPolicy = "DeleteUserPolicy"
	// ReplaceUserPolicies and ReplaceRolePolicies give all inline policies at once.
	ReplaceUserPolicies = "ReplaceUserPolicies"
	CreateAccessKey     = "CreateAccessKey"
	RotateAccessKey     = "RotateAccessKey"
	UpdateAccessKey     = "UpdateAccessKey"
	DeleteAccessKey     = "DeleteAccessKey"
	CreateRole          = "CreateRole"
	UpdateRole          = "UpdateRole"
	DeleteRole          = "DeleteRole"
	PutRolePolicy       = "PutRolePolicy"
	DeleteRolePolicy    = "DeleteRolePolicy"
	ReplaceRolePolicies = "ReplaceRolePolicies"
	EndSessions         = "EndSessions"
	PutProvider         = "PutOpenIDConnectProvider"
	DeleteProvider      = "DeleteOpenIDConnectProvider"
)

// The states of an access key.
const (
	Active   = "Active"
	Inactive = "Inactive"
)

// Call is the parameters of any operation; each takes some of them. docs/reference/access.md says which.
type Call struct {
	// Account is whose principals are meant; "" is the caller's own account.
	Account     string `json:",omitempty"`
	AccountName string `json:",omitempty"`
	UserName    string `json:",omitempty"`
	RoleName    string `json:",omitempty"`
	// PolicyName and PolicyDocument are an inline policy.
	PolicyName     string `json:",omitempty"`
	PolicyDocument string `json:",omitempty"`
	// Policies are all inline policies, by name.
	Policies    map[string]string `json:",omitempty"`
	AccessKeyID string            `json:"AccessKeyId,omitempty"`
	// Status is Active or Inactive.
	Status string `json:",omitempty"`
	// TrustPolicy, Description and MaxSessionDuration, in seconds, are a role's.
	TrustPolicy        string `json:",omitempty"`
	Description        string `json:",omitempty"`
	MaxSessionDuration int    `json:",omitempty"`
	// URL, Audiences, KeysURL and Keys are an identity provider's.
	URL       string   `json:"Url,omitempty"`
	Audiences []string `json:",omitempty"`
	KeysURL   string   `json:"KeysUrl,omitempty"`
	Keys      string   `json:",omitempty"`
}

// Result is the answer of any operation; each fills some of it.
type Result struct {
	// Accounts is what GetAccess answers.
	Accounts []Account `json:",omitempty"`
	// AccessKey is a key that was made, with its secret, and Replaced the id of one that went for it.
	AccessKey *NewAccessKey `json:",omitempty"`
	Replaced  string        `json:",omitempty"`
}

// Account is an account with everything in it.
type Account struct {
	Account     string
	AccountName string      `json:",omitempty"`
	Operator    bool        `json:",omitempty"`
	RootKeys    []AccessKey `json:",omitempty"`
	Users       []User      `json:",omitempty"`
	Roles       []Role      `json:",omitempty"`
	Providers   []Provider  `json:",omitempty"`
}

// User is a user with access keys and inline policies.
type User struct {
	UserName   string
	UserID     string `json:"UserId"`
	Arn        string
	CreateDate time.Time
	AccessKeys []AccessKey       `json:",omitempty"`
	Policies   map[string]string `json:",omitempty"`
}

// AccessKey is an access key without its secret.
type AccessKey struct {
	AccessKeyID  string `json:"AccessKeyId"`
	Status       string
	CreateDate   time.Time
	LastUsedDate *time.Time `json:",omitempty"`
}

// NewAccessKey is an access key with its secret, which is answered once.
type NewAccessKey struct {
	UserName        string `json:",omitempty"`
	AccessKeyID     string `json:"AccessKeyId"`
	SecretAccessKey string
	CreateDate      time.Time
}

// Role is a role with its inline policies.
type Role struct {
	RoleName           string
	RoleID             string `json:"RoleId"`
	Arn                string
	Description        string `json:",omitempty"`
	CreateDate         time.Time
	MaxSessionDuration int
	TrustPolicy        string
	Policies           map[string]string `json:",omitempty"`
}

// Provider is an identity provider.
type Provider struct {
	URL        string `json:"Url"`
	Arn        string
	CreateDate time.Time
	Audiences  []string
	KeysURL    string `json:"KeysUrl,omitempty"`
	Keys       string `json:",omitempty"`
}

// Error is a refusal as it is answered.
type Error struct {
	Code    string `json:"__type"`
	Message string `json:"message"`
	// RequestID is the answer's x-amzn-RequestId.
	RequestID string `json:"-"`
}

// Error returns "Code: Message".
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// MaxBody is the longest call in bytes.
const MaxBody = 256 << 10
