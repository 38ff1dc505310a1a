-- Every column type that both servers have; each row is written, changed and removed.
CREATE TABLE numbers (
  id INT UNSIGNED NOT NULL PRIMARY KEY,
  t1 TINYINT, t2 TINYINT UNSIGNED, y1 YEAR, s1 SMALLINT, s2 SMALLINT UNSIGNED ZEROFILL, m1 MEDIUMINT, m2 MEDIUMINT UNSIGNED,
  i1 INT, i2 INT UNSIGNED, b1 BIGINT, b2 BIGINT UNSIGNED, y2 YEAR, d1 DECIMAL(10,0), d2 DECIMAL(65,30) UNSIGNED, d3 DECIMAL(18,9),
  f1 FLOAT, f2 FLOAT UNSIGNED, f3 DOUBLE, f4 DOUBLE UNSIGNED, bo BOOLEAN, bit1 BIT(1), bit9 BIT(9), bit64 BIT(64)
);
INSERT INTO numbers VALUES
  (1,-128,255,2155,-32768,65535,-8388608,16777215,-2147483648,4294967295,-9223372036854775808,18446744073709551615,1901,
   -9999999999,99999999999999999999999999999999999.999999999999999999999999999999,-1.000000001,-1.5,1.5,-1e308,1e308,1,b'1',b'100000001',~0),
  (2,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL),
  (3,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,b'0',b'0',b'0');
UPDATE numbers SET i1 = 7, d3 = NULL WHERE id <> 2;
UPDATE numbers SET t1 = 1 WHERE id = 2;
DELETE FROM numbers WHERE id = 1;

CREATE TABLE moments (
  id BIGINT NOT NULL PRIMARY KEY, d DATE, t0 TIME, t1 TIME(1), t3 TIME(3), t6 TIME(6), dt0 DATETIME, dt2 DATETIME(2), dt6 DATETIME(6),
  ts0 TIMESTAMP NULL, ts4 TIMESTAMP(4) NULL, ts6 TIMESTAMP(6) NULL
);
SET time_zone = '+02:00';
INSERT INTO moments VALUES
  (1,'9999-12-31','838:59:59','-00:00:00.1','-838:59:58.999','00:00:00.000001','9999-12-31 23:59:59','1000-01-01 00:00:00.99','2024-02-29 12:34:56.123456',
   '1970-01-01 02:00:01','2038-01-19 05:14:07.9999','2024-02-29 12:34:56.654321'),
  (2,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
UPDATE moments SET d = '2000-01-01' WHERE id = 2;
DELETE FROM moments;

CREATE TABLE texts (
  id INT AUTO_INCREMENT, c10 CHAR(10), c255 CHAR(255), v50 VARCHAR(50), v300 VARCHAR(300), b16 BINARY(16), vb20 VARBINARY(20), vb500 VARBINARY(500),
  tt TINYTEXT, te TEXT, mt MEDIUMTEXT, lt LONGTEXT, tb TINYBLOB, bl BLOB, mb MEDIUMBLOB, lb LONGBLOB,
  e ENUM('a','b','ü'), e2 ENUM('x','y') CHARACTER SET latin1, s SET('p','q','r') CHARACTER SET latin1, s2 SET('1','2','3','4','5','6','7','8','9','10'), l1 VARCHAR(20) CHARACTER SET latin1, a CHAR(4) CHARACTER SET ascii,
  PRIMARY KEY (id, v50(10))
) CHARACTER SET utf8mb4;
INSERT INTO texts (id, c10, c255, v50, v300, b16, vb20, vb500, tt, te, mt, lt, tb, bl, mb, lb, e, e2, s, s2, l1, a) VALUES
  (1,'zehn',REPEAT('€',10),'vé',REPEAT('x',260),UNHEX('00010203'),UNHEX('ff00'),'\0','tiny','text','medium','long','tb','bl','mb',REPEAT('z',300),'ü','y','p,r','1,10','é','a'),
  (2,'','','','','','','','','','','','','','','','a','x','','','','');
INSERT INTO texts (id, v50) VALUES (3, 'leer');
UPDATE texts SET te = NULL, e = 'b' WHERE id < 3;
DELETE FROM texts WHERE id = 3;

CREATE TABLE shapes (
  id INT PRIMARY KEY, g GEOMETRY, p POINT, l LINESTRING, po POLYGON, mp MULTIPOINT, ml MULTILINESTRING, mpo MULTIPOLYGON, gc GEOMETRYCOLLECTION
);
-- One row a statement: mysqlbinlog stops at the first geometry of an event.
INSERT INTO shapes (id, g, p, l) VALUES (1, ST_GeomFromText('POINT(1 2)'), ST_GeomFromText('POINT(3 4)'), ST_GeomFromText('LINESTRING(0 0,1 1)'));
INSERT INTO shapes (id) VALUES (2);
DELETE FROM shapes WHERE id = 1;
DELETE FROM shapes WHERE id = 2;
CREATE TABLE keyless (a INT, b VARCHAR(10));
INSERT INTO keyless VALUES (1,'x'),(2,'y'),(2,'y');
UPDATE keyless SET b = 'z' WHERE a = 2;
DELETE FROM keyless WHERE a = 1;
CREATE TABLE parts (id INT PRIMARY KEY, x INT) PARTITION BY HASH (id) PARTITIONS 3;
INSERT INTO parts VALUES (1,1),(2,2),(3,3),(4,4);
UPDATE parts SET id = 11 WHERE id = 2;
BEGIN;
INSERT INTO keyless VALUES (3,'a');
SAVEPOINT sp;
INSERT INTO parts VALUES (5,5);
ROLLBACK TO sp;
UPDATE keyless, parts SET keyless.b = 'multi', parts.x = 9 WHERE keyless.a = 3 AND parts.id = 1;
COMMIT;
XA START 'global', 'branch', 7;
INSERT INTO keyless VALUES (4,'xa');
XA END 'global', 'branch', 7;
XA PREPARE 'global', 'branch', 7;
XA COMMIT 'global', 'branch', 7;
XA START 'other';
INSERT INTO keyless VALUES (5,'xa');
XA END 'other';
XA PREPARE 'other';
XA ROLLBACK 'other';
XA START 'single';
INSERT INTO keyless VALUES (6,'xa');
XA END 'single';
XA COMMIT 'single' ONE PHASE;
ALTER TABLE keyless ADD COLUMN c INT UNSIGNED INVISIBLE FIRST, ADD COLUMN v INT GENERATED ALWAYS AS (a + 1) VIRTUAL, ADD COLUMN w INT GENERATED ALWAYS AS (a + 2) STORED;
INSERT INTO keyless (a, b, c) VALUES (7, 'k', 1);
CREATE TABLE plain (a INT, b TEXT) ENGINE = MyISAM;
INSERT INTO plain VALUES (1, 'my');
SET SESSION binlog_row_image = 'MINIMAL';
UPDATE numbers SET s1 = 3 WHERE id = 3;
INSERT INTO numbers (id, y1) VALUES (9, 2000);
DELETE FROM numbers WHERE id = 9;
SET SESSION binlog_row_image = 'NOBLOB';
UPDATE texts SET c10 = 'noblob' WHERE id = 1;
SET SESSION binlog_row_image = 'FULL';
DROP TABLE shapes, plain;
