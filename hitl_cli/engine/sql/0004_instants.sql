-- How the file's time passes while the computer's clock is behind it (see file_clock.py).

ALTER TABLE clock ADD COLUMN slow_from INTEGER; -- the file's time when the clock was found behind it
ALTER TABLE clock ADD COLUMN slow_wall INTEGER; -- what the clock showed then
