package stream

// Channels deliver the records of streams to S3. There are none: what delivers does not exist yet, so
// that a channel would only look as if it did something. Whoever asks is told so in AWS's words.

// channelNotFound answers whoever names a channel.
func channelNotFound(arn string) error {
	return refuse(NotFound, "Channel %s not found.", arn)
}

// CreateChannel refuses to make a channel.
func (s *Streams) CreateChannel(name string) error {
	return refuse(InvalidArgument, "Channel %s cannot be created: channels are not supported by this server, "+
		"which has nothing that delivers records to S3.", name)
}

// Channel is what DescribeChannel, UpdateChannel and DeleteChannel hear of the channel with an ARN: there is
// none.
func (s *Streams) Channel(arn string) error { return channelNotFound(arn) }

// ListChannels returns the error of listing channels from a token on: nobody was given one, because there
// are no channels. Without a token the list is empty.
func (s *Streams) ListChannels(token string) error {
	if token != "" {
		return refuse(InvalidArgument, "NextToken %s is invalid.", token)
	}
	return nil
}
