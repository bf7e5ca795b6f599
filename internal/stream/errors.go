package stream

import (
	"context"
	"errors"
	"fmt"

	"github.com/headrace/headrace/internal/coordinator"
	"github.com/headrace/headrace/internal/record"
)

// Kind says which of AWS's errors an Error is; the API layer maps it and does nothing else.
type Kind uint8

const (
	// Internal is InternalFailure: a fault on this side.
	Internal Kind = iota
	// NotFound is ResourceNotFoundException.
	NotFound
	// InUse is ResourceInUseException.
	InUse
	// LimitExceeded is LimitExceededException.
	LimitExceeded
	// InvalidArgument is InvalidArgumentException.
	InvalidArgument
	// Validation is ValidationException.
	Validation
	// ExpiredIterator is ExpiredIteratorException.
	ExpiredIterator
	// ExpiredToken is ExpiredNextTokenException.
	ExpiredToken
	// Throughput is ProvisionedThroughputExceededException.
	Throughput
	// KMSAccessDenied is KMSAccessDeniedException: the node's key is not the one that records need.
	KMSAccessDenied
	// KMSInvalidState is KMSInvalidStateException: a data key is damaged or missing.
	KMSInvalidState
	// KMSNotFound is KMSNotFoundException: a KeyId names no key.
	KMSNotFound
)

// String returns the name of AWS's error.
func (k Kind) String() string {
	switch k {
	case NotFound:
		return "ResourceNotFoundException"
	case InUse:
		return "ResourceInUseException"
	case LimitExceeded:
		return "LimitExceededException"
	case InvalidArgument:
		return "InvalidArgumentException"
	case Validation:
		return "ValidationException"
	case ExpiredIterator:
		return "ExpiredIteratorException"
	case ExpiredToken:
		return "ExpiredNextTokenException"
	case Throughput:
		return "ProvisionedThroughputExceededException"
	case KMSAccessDenied:
		return "KMSAccessDeniedException"
	case KMSInvalidState:
		return "KMSInvalidStateException"
	case KMSNotFound:
		return "KMSNotFoundException"
	}
	return "InternalFailure"
}

// Error is an answer AWS would give: its Message is AWS's text, to be sent as it is. Any other
// error that this package returns is a fault of storage or a cancelled context.
type Error struct {
	Kind    Kind
	Message string
}

// Error returns the kind and the message.
func (e *Error) Error() string {
	if e.Message == "" {
		return e.Kind.String()
	}
	return e.Kind.String() + ": " + e.Message
}

func refuse(k Kind, format string, args ...any) *Error {
	return &Error{k, fmt.Sprintf(format, args...)}
}

// noWarmThroughput is the answer to an account that asks for warm throughput without the commitment that
// AWS wants for it.
func noWarmThroughput(sc Scope) *Error {
	return refuse(Validation, "Request is invalid. Warm throughput is not enabled for account %s.", sc.Account)
}

func streamNotFound(sc Scope, name string) *Error {
	return refuse(NotFound, "Stream %s under account %s not found.", name, sc.Account)
}

// noSuchShard answers an id that is no shard id, and operations that change a shard.
func noSuchShard(sc Scope, name, id string) *Error {
	return refuse(NotFound, "Could not find shard %s in stream %s under account %s.", id, name, sc.Account)
}

// shardNotFound answers readers whose shard is not there.
func shardNotFound(sc Scope, name string, number int32) *Error {
	return refuse(NotFound, "Shard %s in stream %s under account %s does not exist", ShardID(number), name, sc.Account)
}

func notActive(sc Scope, name string, status Status) *Error {
	return refuse(InUse, "Stream %s under account %s not ACTIVE, instead in state %s", name, sc.Account, status)
}

func onDemandRefused(sc Scope, name string) *Error {
	return refuse(Validation, "Request is invalid. Stream %s under account %s is in On-Demand mode.", name, sc.Account)
}

func provisionedRefused(sc Scope, name string) *Error {
	return refuse(Validation, "Request is invalid. Stream %s under account %s is in Provisioned mode.", name, sc.Account)
}

func shardLimitExceeded(sc Scope, current, limit, more int) *Error {
	return refuse(LimitExceeded, "This request would exceed the shard limit for the account %s in %s. "+
		"Current shard count for the account: %d. Limit: %d. "+
		"Number of additional shards that would have resulted from this request: %d. "+
		"Refer to the AWS Service Limits page (http://docs.aws.amazon.com/general/latest/gr/aws_service_limits.html) "+
		"for current limits and how to request higher limits.", sc.Account, sc.Region, current, limit, more)
}

func streamLimitExceeded(sc Scope, what string, current, limit int) *Error {
	return refuse(LimitExceeded, "This request would exceed the %s limit for the account %s in %s. "+
		"Current %s count for the account: %d. Limit: %d.", what, sc.Account, sc.Region, what, current, limit)
}

func rateExceeded(sc Scope, name, shardID string) *Error {
	return refuse(Throughput, "Rate exceeded for shard %s in stream %s under account %s.", shardID, name, sc.Account)
}

// ParseExplicitHashKey reads the ExplicitHashKey of a record; the error is AWS's answer to one out
// of range.
func ParseExplicitHashKey(text string) (record.HashKey, error) {
	h, err := record.ParseHashKey(text)
	if err != nil {
		return h, refuse(InvalidArgument, "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: "+
			"[0, 2^128-1]. Specified value was %s", text)
	}
	return h, nil
}

// isCancel reports whether an error says no more than that a context is done.
func isCancel(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, coordinator.ErrClosed)
}
