CREATE SEQUENCE guest_number;
CREATE TABLE guest (
  number bigint PRIMARY KEY DEFAULT nextval('guest_number'),
  name text NOT NULL
);
