package config

// LimitMode says whose limits hold for what streams take and give.
type LimitMode string

// The modes.
const (
	// NoLimits lets shards take and give what the machine can.
	NoLimits LimitMode = "off"
	// AWSLimits are those of Amazon Kinesis.
	AWSLimits LimitMode = "aws"
)

// OnDemand says how on-demand streams follow their load.
type OnDemand struct {
	// Scaling is AutoSwitch, On or Off; auto is on where AWS's limits hold. Use Scaling.Or to read it.
	Scaling Switch
	// Shards is the most shards that a stream is split into by itself.
	Shards int
}

func defaultOnDemand() OnDemand { return OnDemand{Scaling: AutoSwitch, Shards: 200} }

// onDemandSettings are the keys of the section on-demand.
func onDemandSettings(o *OnDemand) []setting {
	return []setting{
		{"on-demand.scaling", "text", "whether on-demand streams split and merge with their load: auto (with AWS's limits), on or off", (*textValue)(&o.Scaling)},
		{"on-demand.shards", "count", "most shards that an on-demand stream is split into by itself", (*countValue)(&o.Shards)},
	}
}

// limitChecks are what is wrong with whose limits hold, and with the section on-demand.
func limitChecks(m LimitMode, o OnDemand) []check {
	return []check{
		{"limits.mode", oneOf(m, NoLimits, AWSLimits)},
		{"on-demand.scaling", oneOf(o.Scaling, AutoSwitch, On, Off)},
		{"on-demand.shards", checkCount(o.Shards)},
	}
}
