-- What became of a release by hand. Redis may give no answer to a deletion that it carried out, or did not: the record
-- stays all the same, and says so.
ALTER TABLE lock_releases ADD COLUMN outcome text NOT NULL DEFAULT 'released'
    CONSTRAINT release_outcome_is_released_or_unknown CHECK (outcome IN ('released', 'unknown'));
