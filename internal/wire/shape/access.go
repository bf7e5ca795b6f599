package shape

// Access is one permission that a call needs, in the terms of AWS's policies.
type Access struct {
	// Action is the service's prefix and the action, such as kinesis:PutRecord.
	Action string
	// Resource is the ARN that the action is done on, "*" for actions that have none.
	Resource string
	// Creates says that the call is to make the resource: one that has its name already has no say.
	Creates bool
	// Tags are those that the call sets, TagKeys the keys of those that it removes.
	Tags    map[string]string
	TagKeys []string
}

// Needs says what a call needs: it calls ask for each permission and returns the first error. The
// input is decoded and valid.
type Needs func(call *Call, in Shape, ask func(*Access) error) error

// NeedsNothing is Needs of an operation that everybody may call, or that decides for itself.
func NeedsNothing(*Call, Shape, func(*Access) error) error { return nil }
