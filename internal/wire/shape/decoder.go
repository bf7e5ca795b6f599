package shape

// Decoder reads one document.
type Decoder struct{ n int }

func (d *Decoder) Reset(f Format, body []byte) {}
func (d *Decoder) Err() error                  { return nil }
func (d *Decoder) Finish() error               { return nil }
func (d *Decoder) Null() bool                  { return false }
func (d *Decoder) BeginStruct()                {}
func (d *Decoder) NextMember() bool            { return false }
func (d *Decoder) Key() []byte                 { return nil }
func (d *Decoder) BeginList()                  {}
func (d *Decoder) NextElement() bool           { return false }
func (d *Decoder) BeginMap()                   {}
func (d *Decoder) NextEntry() bool             { return false }
func (d *Decoder) String() string              { return "" }
func (d *Decoder) Bool() bool                  { return false }
func (d *Decoder) Int32() int32                { return 0 }
func (d *Decoder) Int64() int64                { return 0 }
func (d *Decoder) Float64() float64            { return 0 }
func (d *Decoder) Blob() []byte                { return nil }
func (d *Decoder) Timestamp() Timestamp        { return 0 }
func (d *Decoder) Skip()                       {}

func (d *Decoder) OptString() Opt[string]       { return Opt[string]{} }
func (d *Decoder) OptBool() Opt[bool]           { return Opt[bool]{} }
func (d *Decoder) OptInt32() Opt[int32]         { return Opt[int32]{} }
func (d *Decoder) OptInt64() Opt[int64]         { return Opt[int64]{} }
func (d *Decoder) OptFloat64() Opt[float64]     { return Opt[float64]{} }
func (d *Decoder) OptTimestamp() Opt[Timestamp] { return Opt[Timestamp]{} }

// Wellformed reports whether body is one document whose root is a structure or list.
func Wellformed(f Format, body []byte) bool { return false }
