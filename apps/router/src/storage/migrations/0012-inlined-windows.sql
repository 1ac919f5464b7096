-- What a window is depends on a time zone, so PostgreSQL takes these functions for less than immutable, and would call
-- them once for every row of a batch. As what they are they are put in the place of their calls.
alter function window_start(text, timestamptz) stable;
alter function window_rest_ms(text, timestamptz) stable;
alter function counts_now(timestamptz, timestamptz) stable;
