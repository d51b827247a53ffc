-- Only in builds that are tested beside another build: a rolling upgrade with a change that the older one can live with.
ALTER TABLE incidents ADD COLUMN upgraded TEXT;
CREATE INDEX incidents_upgraded ON incidents (upgraded) WHERE upgraded IS NOT NULL;
