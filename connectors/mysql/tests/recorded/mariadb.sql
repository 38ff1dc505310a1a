-- What only MariaDB has.
CREATE TABLE special (id INT PRIMARY KEY, i6 INET6, c VARCHAR(400) COMPRESSED, t TEXT COMPRESSED, j JSON, n CHAR(3)) WITH SYSTEM VERSIONING;
INSERT INTO special VALUES (1, '::1', REPEAT('c', 300), REPEAT('t', 500), '{"a": 1}', 'abc'), (2, NULL, NULL, NULL, NULL, NULL), (3, '::ffff:1.2.3.4', 'short', 'short', '[]', '');
UPDATE special SET n = 'x' WHERE id = 1;
DELETE FROM special WHERE id = 2;
SET SESSION gtid_domain_id = 8;
REPLACE INTO special VALUES (3, NULL, 'c', 't', '{}', 'r');
SET SESSION gtid_domain_id = 7;
CREATE OR REPLACE TABLE made AS SELECT id, n FROM special;
CREATE SEQUENCE seq;
SELECT NEXTVAL(seq);
