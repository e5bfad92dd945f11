-- Since when an incident has been clear without a break, where its policy asks for how long that must hold.
ALTER TABLE incident ADD COLUMN clear_since BIGINT;
