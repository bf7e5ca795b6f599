package shape

// Encoder appends one document.
type Encoder struct{ buf []byte }

func (e *Encoder) Reset(f Format, buf []byte) {}
func (e *Encoder) Bytes() []byte              { return e.buf }
func (e *Encoder) BeginStruct()               {}
func (e *Encoder) Member(name string)         {}
func (e *Encoder) EndStruct()                 {}
func (e *Encoder) BeginList(n int)            {}
func (e *Encoder) EndList()                   {}
func (e *Encoder) BeginMap(n int)             {}
func (e *Encoder) MapKey(k string)            {}
func (e *Encoder) EndMap()                    {}
func (e *Encoder) String(s string)            {}
func (e *Encoder) Bool(v bool)                {}
func (e *Encoder) Int32(v int32)              {}
func (e *Encoder) Int64(v int64)              {}
func (e *Encoder) Float64(v float64)          {}
func (e *Encoder) Blob(b []byte)              {}
func (e *Encoder) Timestamp(t Timestamp)      {}
func (e *Encoder) Null()                      {}
