-- Leaves the server as it was.
DROP SCHEMA holdfast_limit CASCADE;
